// One side of a contest for a key: contest_test.go has the other.
import { Redis } from "ioredis"
import { setTimeout as sleep } from "node:timers/promises"

// Takes and gives back the key until the time is over. Whoever is inside puts a witness
// of its own into Redis and takes it away again; that it was there already, or is another's
// in the end, shows that two were inside. Returns what was seen; times are in ms since 1970.
export async function contend(locking, { key, witness, self, forMs, insideMs, outsideMs, wait }) {
  const redis = new Redis(process.env.LOCKING_REDIS_URL)
  const seen = { turns: [], overlaps: 0, errors: [] }
  const now = () => performance.timeOrigin + performance.now()
  const end = now() + forMs
  while (now() < end) {
    const turn = { asked: now() }
    try {
      await locking.execute(
        key,
        async () => {
          turn.began = now()
          if ((await redis.set(witness, self, "NX")) !== "OK") {
            seen.overlaps++
          }
          await sleep(insideMs)
          if ((await redis.getdel(witness)) !== self) {
            seen.overlaps++
          }
          turn.ended = now()
        },
        { timeout: wait }
      )
    } catch (error) {
      turn.gaveUp = now()
      if (turn.began || error.message !== "Timed-out acquiring lock.") {
        seen.errors.push(error.message)
        await sleep(10)
      }
    }
    seen.turns.push(turn)
    await sleep(outsideMs)
  }
  await redis.quit()
  return seen
}
