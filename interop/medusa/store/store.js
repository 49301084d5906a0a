// The locking module of a Medusa store, driven from outside: a request is a line of
// JSON on stdin, {id, op, args}, and is answered on stdout by {id, ok} or {id, error}.
// It ends when stdin does. What Medusa itself says goes to stderr.
import { createInterface } from "node:readline"
import { contend } from "./contend.js"

globalThis.console = new console.Console(process.stderr)
const { MedusaApp } = await import("@medusajs/framework/modules-sdk")
const { default: modules } = await import("./medusa-config.js")

// Started as a store starts it: by its loaders, from its configuration. That there are
// no link modules, it says; they are of no use without a database.
const app = await MedusaApp({ modulesConfig: { locking: modules[0] }, cwd: import.meta.dirname })
const locking = app.modules.locking

const say = (message) => process.stdout.write(JSON.stringify(message) + "\n")

// What ends the jobs that run, by the id of their request.
const jobs = new Map()

const ops = {
  acquire: ({ keys, args }) => locking.acquire(keys, args),
  release: ({ keys, args }) => locking.release(keys, args),
  releaseAll: ({ args }) => locking.releaseAll(args),

  // The job says {id, event: "runs"} when it begins, and {id, event: "aborted"} when its
  // signal is; it goes on until it is finished.
  execute: ({ keys, args }, id) =>
    locking.execute(
      keys,
      (signal) =>
        new Promise((resolve) => {
          jobs.set(id, resolve)
          signal.addEventListener("abort", () => say({ id, event: "aborted" }))
          say({ id, event: "runs" })
        }),
      args
    ),
  finish: ({ job }) => {
    jobs.get(job)()
    jobs.delete(job)
  },

  contend: (args) => contend(locking, args),
}

const serve = async ({ id, op, args }) => {
  try {
    say({ id, ok: (await ops[op](args, id)) ?? null })
  } catch (error) {
    say({ id, error: { type: error.type ?? error.name, message: error.message } })
  }
}

const lines = createInterface({ input: process.stdin })
lines.on("line", (line) => void serve(JSON.parse(line)))
lines.on("close", () => process.exit(0))
say({ event: "ready" })
