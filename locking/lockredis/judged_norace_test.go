//go:build !race

package lockredis_test

const judgedWaiters = 10_000
