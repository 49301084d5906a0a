// Package simulation drives whole engines through everything that can go wrong, in
// simulated time, and judges what they do by a slow and direct model. It has tests
// only.
//
// A seed makes a [testing/synctest] bubble with a few instances of an engine over one
// simulated store and one simulated lock server, random workflows, and faults: crashes
// between any two calls, delays, lost and doubled requests, lost replies, instances
// that are cut off for a while, or stand still and do not know of it, and a store whose
// clock jumps. The same seed makes the same history, whatever the order in which
// goroutines are scheduled: nothing is drawn from a stream of random numbers. Each fate
// is a hash of the seed, of who acts, and of what is done for the how manieth time; and
// each call takes a time of its own, so that hardly ever two things happen at one
// moment.
//
// To repeat what was found, and to read what happened:
//
//	go test ./internal/simulation -run TestSimulation -seed N
//
// What is not simulated: the clock of one instance alone cannot jump, since a bubble
// has one clock. The store keeps a clock of its own, which can. That of the lock server
// is the bubble's.
package simulation
