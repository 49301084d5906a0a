//go:build race

package lockredis_test

// judgedWaiters is fewer than is promised: the race detector makes each much dearer.
const judgedWaiters = 2_000
