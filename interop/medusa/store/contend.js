// One side of a contest for a key: see contest_test.go, which has the other.
import { Redis } from "ioredis"
import { setTimeout as sleep } from "node:timers/promises"

// Takes and gives back the key until the time is over. Whoever is inside puts a witness
// of its own into Redis and takes it away again; that it was there already, or is another's
// in the end, shows that two were inside. Returns what was seen; all times are in ms.
export async function contend(locking, { key, witness, self, forMs, insideMs, outsideMs, wait }) {
  const redis = new Redis(process.env.LOCKING_REDIS_URL)
  const seen = { turns: 0, overlaps: 0, waits: [], timeouts: 0, errors: [] }
  const end = Date.now() + forMs
  const now = () => performance.timeOrigin + performance.now()
  while (Date.now() < end) {
    const asked = now()
    let began
    try {
      await locking.execute(
        key,
        async () => {
          began = now()
          seen.waits.push(began - asked)
          if ((await redis.set(witness, self, "NX")) !== "OK") {
            seen.overlaps++
          }
          await sleep(insideMs)
          if ((await redis.getdel(witness)) !== self) {
            seen.overlaps++
          }
          seen.turns++
        },
        wait ? { timeout: wait } : undefined
      )
    } catch (error) {
      if (!began && error.message === "Timed-out acquiring lock.") {
        seen.timeouts++
        seen.waits.push(now() - asked)
      } else {
        seen.errors.push(error.message)
        await sleep(10)
      }
    }
    await sleep(outsideMs)
  }
  await redis.quit()
  return seen
}
