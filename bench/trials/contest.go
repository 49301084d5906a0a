package trials

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/bench/locks"
	"github.com/lockstep-dev/lockstep/bench/measure"
)

// contest is what one process does in one slice of contention. It goes to a child
// process as JSON.
type contest struct {
	Candidate string
	Addr      string
	Key       string
	Callers   int
	Window    time.Duration
	Patience  time.Duration
	Witness   string // a path
}

// tally is what came of it.
type tally struct {
	// Turns are the turns of each caller within the window, by moment.
	Turns [][]int
	// Waits has one wait for each turn, those after the window too: who still waits
	// at its end is waited for, so that a long wait isn't forgotten.
	Waits    []time.Duration
	Commands int64
	Allocs   uint64
	// Unserved are the callers who still waited when patience ended; each has the
	// wait so far among the waits. Failures are the calls of a peer that failed.
	Unserved, Failures int
}

// moments is how many equal parts of about 100 ms a window has. Over a whole window
// barging evens out that leaves most callers without a turn for long.
func moments(window time.Duration) int { return max(int(window/(100*time.Millisecond)), 1) }

// join adds up what processes did.
func join(all []tally) (sum tally) {
	for _, t := range all {
		sum.Turns = append(sum.Turns, t.Turns...)
		sum.Waits = append(sum.Waits, t.Waits...)
		sum.Commands += t.Commands
		sum.Allocs += t.Allocs
		sum.Unserved += t.Unserved
		sum.Failures += t.Failures
	}
	return sum
}

// compete has the callers of this process contend from the moment that start fires.
func (c *contest) compete(ctx context.Context, l opened, w *witness, start <-chan time.Time) (tally, error) {
	callers := make([]competitor, c.Callers)
	keys := []string{c.Key}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	sent := l.wire.Sent()
	<-start
	end := time.Now().Add(c.Window)
	ctx, cancel := context.WithDeadline(ctx, end.Add(c.Patience))
	defer cancel()
	var wg sync.WaitGroup
	for i := range callers {
		callers[i].turns = make([]int, moments(c.Window))
		wg.Go(func() { callers[i].compete(ctx, l, keys, w, end, c.Window) })
	}
	wg.Wait()
	sent = l.wire.Sent().Sub(sent)
	runtime.ReadMemStats(&after)
	t := tally{Commands: sent.Commands, Allocs: after.Mallocs - before.Mallocs}
	var errs []error
	for _, p := range callers {
		t.Turns = append(t.Turns, p.turns)
		t.Waits = append(t.Waits, p.waits...)
		t.Unserved += p.unserved
		if p.err != nil {
			errs = append(errs, p.err)
		}
	}
	t.Failures = len(errs)
	// A peer may fail, and the table says so. Ours may not, nor the floor.
	if err := errors.Join(errs...); err != nil && l.Kind != locks.Peer {
		return t, fmt.Errorf("%s: %w", l.Name, err)
	}
	return t, nil
}

// competitor is one caller.
type competitor struct {
	turns    []int
	unserved int
	waits    []time.Duration
	err      error
}

func (p *competitor) compete(ctx context.Context, l opened, keys []string, w *witness, end time.Time, window time.Duration) {
	moment := window / time.Duration(len(p.turns))
	var asked time.Time
	var served bool
	section := func(token uint64) {
		served = true
		w.pass(token)
		now := time.Now()
		p.waits = append(p.waits, now.Sub(asked))
		if left := end.Sub(now); left > 0 {
			p.turns[min(int((window-left)/moment), len(p.turns)-1)]++
		}
	}
	for {
		if asked = time.Now(); !asked.Before(end) {
			return
		}
		served = false
		err := l.Hold(ctx, keys, section)
		switch {
		case err == nil:
			continue
		case ctx.Err() == nil:
			p.err = err
		case !served:
			p.unserved = 1
			p.waits = append(p.waits, time.Since(asked))
		}
		return
	}
}

// together measures callers who all want one key, in so many processes.
func (c *Config) together(ctx context.Context, addr string, processes int, report *Report) error {
	list := c.candidates(func(l locks.Candidate) bool { return l.Together })
	window := 6 * c.Slice
	rounds := make([][]round, len(list))
	var stalls measure.Stalls
	err := measure.Interleave(max(c.Rounds/3, 1), len(list), func(n, i int) error {
		stalls.Add(measure.WatchStalls(c.Slice / 3)) // nothing else runs now
		name := list[i].Name
		t, err := oneContest(ctx, contest{
			Candidate: name, Addr: addr, Key: "together:" + name + ":" + strconv.Itoa(processes) + ":" + strconv.Itoa(n),
			Callers: callersTogether / processes, Window: window, Patience: c.Patience,
		}, processes)
		if err != nil {
			return err
		}
		rounds[i] = append(rounds[i], figures(t, window))
		return nil
	})
	if err != nil {
		return err
	}
	part := Contended{Processes: processes, Callers: callersTogether, Stalls: stallsOf(stalls)}
	for i, l := range list {
		part.Rows = append(part.Rows, togetherRow(l, rounds[i]))
	}
	report.Contended = append(report.Contended, part)
	return nil
}

// stallsOf is what was seen of the machine in all rounds.
func stallsOf(s measure.Stalls) Stalls {
	return Stalls{PerSecond: s.PerSecond(), Longest: micros(s.Longest), Watched: micros(s.Watched)}
}

// round are the figures of one contest.
type round struct {
	rate, commands, allocs float64
	jain, jainBriefly      float64
	p50, p99, max          time.Duration
	unserved, failures     int
}

func figures(t tally, window time.Duration) round {
	slices.Sort(t.Waits)
	turns, jain, briefly := fairness(t.Turns)
	pairs := float64(max(len(t.Waits)-t.Unserved, 1))
	return round{
		rate: float64(turns) / window.Seconds(), jain: jain, jainBriefly: briefly,
		commands: float64(t.Commands) / pairs, allocs: float64(t.Allocs) / pairs,
		p50: measure.Percentile(t.Waits, 50), p99: measure.Percentile(t.Waits, 99), max: measure.Percentile(t.Waits, 100),
		unserved: t.Unserved, failures: t.Failures,
	}
}

// fairness returns all turns, how evenly the callers had them, and how evenly they
// had them at a moment, which is the median over the moments.
func fairness(turns [][]int) (all int, jain, briefly float64) {
	own := make([]int, len(turns))
	var byMoment []float64
	for m := range turns[0] {
		now := make([]int, len(turns))
		for i := range turns {
			now[i] = turns[i][m]
			own[i] += now[i]
			all += now[i]
		}
		byMoment = append(byMoment, measure.Jain(now))
	}
	return all, measure.Jain(own), measure.Over(byMoment).Median
}

func togetherRow(l locks.Candidate, rounds []round) ContendedRow {
	median := func(figure func(round) float64) float64 { return measure.Over(pick(rounds, figure)).Median }
	rates := pick(rounds, func(r round) float64 { return r.rate })
	row := ContendedRow{
		Name: l.Name, kind: l.Kind, rates: rates,
		Rate:        measure.Over(rates),
		P50:         median(func(r round) float64 { return micros(r.p50) }),
		P99:         median(func(r round) float64 { return micros(r.p99) }),
		P99ToP50:    median(func(r round) float64 { return float64(r.p99) / max(float64(r.p50), 1) }),
		Max:         measure.Over(pick(rounds, func(r round) float64 { return micros(r.max) })).Max,
		Jain:        median(func(r round) float64 { return r.jain }),
		JainBriefly: median(func(r round) float64 { return r.jainBriefly }),
		Commands:    median(func(r round) float64 { return r.commands }),
		Allocations: median(func(r round) float64 { return r.allocs }),
	}
	for _, r := range rounds {
		row.Unserved += r.unserved
		row.Failures += r.failures
	}
	return row
}
