// Package workflowtest shows what a crash does to a workflow: [Explore] runs it again and
// again, and has its process die at each call of the store and of the lock server in turn,
// once before the call and once when it has been made and nobody has heard the answer. A
// new process then goes on. [ExploreKilled] does the same with real processes, which die of
// SIGKILL.
//
// A [Ledger] keeps what the bodies of steps have done, in a file that outlives the
// processes, and judges it at the end.
package workflowtest
