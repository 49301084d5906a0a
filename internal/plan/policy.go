package plan

import (
	"hash/fnv"
	"math"
	"strconv"
	"time"
)

// Policy says how a step's attempts are made. It is no part of the fingerprint.
type Policy struct {
	Invoke             Attempts
	Compensate         Attempts
	CompensateOnlyDone bool
}

// Attempts governs one phase of a step. The zero value is one attempt without a
// timeout.
type Attempts struct {
	// Most counts the attempts; zero is one, negative is without a limit.
	Most int
	// Pause precedes the second attempt. Each further pause is Factor times the
	// one before, up to PauseMost.
	Pause     time.Duration
	Factor    float64
	PauseMost time.Duration
	// Jitter takes away up to this share of each pause, at random.
	Jitter float64
	// Elapsed bounds the time from the first attempt's start to the start of a
	// later one; zero is without a bound.
	Elapsed time.Duration
	// RetryIf says which errors are worth another attempt; nil is all.
	RetryIf func(error) bool
	// Timeout ends an attempt's context; zero is never.
	Timeout time.Duration
}

// Another says whether attempt number done may be followed by another one that
// starts at the time given.
func (a *Attempts) Another(done int, first, start time.Time) bool {
	if a.Most >= 0 && done >= max(a.Most, 1) {
		return false
	}
	return a.Elapsed == 0 || start.Sub(first) <= a.Elapsed
}

// PauseAfter returns the pause after attempt number done. The seed makes its
// jitter: equal seeds give equal pauses, so that a decision can be made again.
func (a *Attempts) PauseAfter(done int, seed string) time.Duration {
	if a.Pause <= 0 {
		return 0
	}
	most := float64(math.MaxInt64 / 2)
	if a.PauseMost > 0 {
		most = float64(a.PauseMost)
	}
	pause := min(float64(a.Pause)*math.Pow(max(a.Factor, 1), float64(done-1)), most)
	if a.Jitter > 0 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(seed + "\x00" + strconv.Itoa(done))) // never fails, as hash.Hash says
		const top = 1 << 53
		pause -= pause * min(a.Jitter, 1) * (float64(h.Sum64()>>11) / top)
	}
	return time.Duration(pause)
}
