//go:build race

package lockredis_test

// judgedWaiters is fewer than is promised: the race detector has at most 8,128 goroutines.
const judgedWaiters = 5_000
