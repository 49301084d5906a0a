// Package faults kills a process under load with SIGKILL, again and again, and judges what
// is left: that every execution has come to its end, and that nothing that a body did, that
// a caller was told, or that was locked, contradicts the invariants. It has tests only.
//
// A child process drives an engine on a SQLite file, with locks on Redis or in memory, and asks for
// executions without a pause. It dies at a random moment, and the next one goes on; callers
// ask again, under the same ids, for what they have not heard the end of. The last process
// lives until nothing is left to do.
//
// All that bodies do and callers are told stands in one file of notes, in the order in
// which it happened: see judge. What was found has a seed, which makes the same executions
// and the same delays before the kills, though not the same history:
//
//	go test -race ./internal/faults -run TestExecutionsWhoseProcess -v -args -kills=200 -seed=N
package faults
