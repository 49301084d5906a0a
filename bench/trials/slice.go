package trials

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/bench/measure"
)

// drain bounds how long the calls under way at the end of a slice may take.
const drain = 20 * time.Second

// slice is what one candidate did in one slice of time, in calls that each take and
// free.
type slice struct {
	rate             float64 // calls a second
	p50, p99         time.Duration
	commands, writes float64 // sent by the client, each call
	allocs, bytes    float64 // each call
}

// keyring are the keys of one caller, made before the clock runs. No other caller
// has any of them.
type keyring [][]string

// keyrings makes keys for callers. Each call takes count keys.
func keyrings(prefix string, callers, count int) []keyring {
	const calls = 128 // then they are used again
	rings := make([]keyring, callers)
	for i := range rings {
		for j := range calls {
			keys := make([]string, count)
			for k := range keys {
				keys[k] = fmt.Sprintf("%s:%d:%d:%d", prefix, i, j, k)
			}
			rings[i] = append(rings[i], keys)
		}
	}
	return rings
}

// run lets each caller take and free its keys for a while.
func run(ctx context.Context, l opened, rings []keyring, window time.Duration) (slice, error) {
	ctx, cancel := context.WithTimeout(ctx, window+drain)
	defer cancel()
	// The lists are as long as they may need to be, so that they do not grow while
	// allocations are counted.
	took := make([][]time.Duration, len(rings))
	for i := range took {
		took[i] = make([]time.Duration, 0, 64+int(window.Seconds()*100_000)/len(rings))
	}
	errs := make([]error, len(rings))
	var callers sync.WaitGroup

	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	sent := l.wire.Sent()
	begin := time.Now()
	end := begin.Add(window)
	for i, ring := range rings {
		callers.Go(func() {
			now := time.Now()
			for n := 0; now.Before(end); n++ {
				if errs[i] = l.Hold(ctx, ring[n%len(ring)], func(uint64) {}); errs[i] != nil {
					return
				}
				then := now
				now = time.Now()
				took[i] = append(took[i], now.Sub(then))
			}
		})
	}
	callers.Wait()
	lasted := time.Since(begin)
	sent = l.wire.Sent().Sub(sent)
	runtime.ReadMemStats(&after)
	if err := errors.Join(errs...); err != nil {
		return slice{}, fmt.Errorf("%s: %w", l.Name, err)
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	n := float64(len(all))
	return slice{
		rate: n / lasted.Seconds(), p50: measure.Percentile(all, 50), p99: measure.Percentile(all, 99),
		commands: float64(sent.Commands) / n, writes: float64(sent.Writes) / n,
		allocs: float64(after.Mallocs-before.Mallocs) / n, bytes: float64(after.TotalAlloc-before.TotalAlloc) / n,
	}, nil
}

// pick takes one figure out of each slice.
func pick[S any](rounds []S, figure func(S) float64) []float64 {
	values := make([]float64, len(rounds))
	for i, s := range rounds {
		values[i] = figure(s)
	}
	return values
}

func (s slice) perSecond() float64 { return s.rate }

// micros is a duration as the report has it.
func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
