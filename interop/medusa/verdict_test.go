package medusa_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"
)

// The intervals that the two providers document.
const (
	storeRetry = time.Second            // Medusa's maximumRetryInterval: it polls
	ourTick    = 500 * time.Millisecond // we are pushed, and look at each tick where the server does not push
)

// atOnce is what is noticed by a push: a tenth of what it takes a tick to notice, if not less.
const atOnce = ourTick / 10

// hiccup is what a busy machine of two cores may add to any of them.
const hiccup = 250 * time.Millisecond

// verdict is what is wrong with a contest: that two were inside, that something failed, or
// that somebody waited for longer than its provider documents.
func (c contest) verdict(ours, theirs *seen) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if n := ours.Overlaps + theirs.Overlaps; n > 0 {
		fault("two were inside %d times", n)
	}
	if list := slices.Concat(ours.Errors, theirs.Errors); len(list) > 0 {
		fault("errors: %q", list)
	}
	if d := ours.idle(theirs); d > ourTick+hiccup {
		fault("we waited for %s while nobody had the key; a tick is %s", d, ourTick)
	}
	if d := theirs.idle(ours); d > storeRetry+hiccup {
		fault("Medusa waited for %s while nobody had the key; it polls at least every %s", d, storeRetry)
	}
	if d := ours.beyond(theirs); d > ourTick+hiccup {
		fault("we waited for %s beyond our turn; a tick is %s", d, ourTick)
	}
	if d := theirs.beyond(ours); c.mostlyFree && d > storeRetry+hiccup {
		fault("Medusa waited for %s beyond its turn; it polls at least every %s", d, storeRetry)
	}
	if of, late := ours.behind(theirs); c.mostlyFree && late > of/5+1 {
		fault("%d of the %d times that we were next behind Medusa we came in more than %s after it was out: nothing was pushed", late, of, atOnce)
	}
	for name, s := range map[string]*seen{"ours": ours, "Medusa's": theirs} {
		if d := s.longest(); d > c.wait+hiccup {
			fault("one of %s waited for %s, although none waits for longer than %s", name, d, c.wait)
		}
	}
	return faults
}

// holds are the turns of both sides that were served, in their order.
func holds(a, b *seen) (list []turn) {
	for _, t := range slices.Concat(a.Turns, b.Turns) {
		if t.Began > 0 {
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(a, b turn) int { return cmp.Compare(a.Began, b.Began) })
	return list
}

// millisLong is a time of so many ms.
func millisLong(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// longest is the longest time that somebody waited.
func (s *seen) longest() (longest time.Duration) {
	for _, t := range s.Turns {
		longest = max(longest, millisLong(t.until()-t.Asked))
	}
	return longest
}

// idle is the longest time for which somebody of one side waited while nobody had the
// key. Others are the other side.
func (s *seen) idle(others *seen) time.Duration {
	holds := holds(s, others)
	longest := 0.0
	for _, t := range s.Turns {
		from := t.Asked
		first, _ := slices.BinarySearchFunc(holds, from, func(h turn, at float64) int { return cmp.Compare(h.Ended, at) })
		for _, h := range holds[first:] {
			if h.Began >= t.until() {
				break
			}
			longest = max(longest, h.Began-from)
			from = max(from, h.Ended)
		}
		longest = max(longest, t.until()-from)
	}
	return millisLong(longest)
}

// beyond is the longest time for which somebody of one side waited beyond its turn.
func (s *seen) beyond(others *seen) time.Duration {
	longest := 0.0
	for _, t := range s.Turns {
		begins, _ := s.turnOf(t, others)
		longest = max(longest, t.until()-begins)
	}
	return millisLong(longest)
}

// behind says how often one side was next behind the other, and how often it then came in
// late: not at once when the other was out. Whoever is late has waited for the other: it may
// have been about to release when it was found inside.
func (s *seen) behind(others *seen) (of, late int) {
	for _, t := range s.Turns {
		begins, behind := s.turnOf(t, others)
		if millisLong(t.until()-begins) > atOnce {
			of, late = of+1, late+1
		} else if behind {
			of++
		}
	}
	return of, late
}

// turnOf says when it is somebody's turn: when whoever was inside when it asked is out, and
// so are all those of its own side who asked before it. Who of the others came in later had
// no right to. Behind says that it was another that it had to wait for in the end.
func (s *seen) turnOf(t turn, others *seen) (begins float64, behind bool) {
	begins = t.Asked
	for _, own := range s.Turns {
		if own.Asked < t.Asked {
			begins = max(begins, own.over())
		}
	}
	for _, other := range others.Turns {
		if other.Began > 0 && other.Began <= t.Asked && other.Ended > begins {
			begins, behind = other.Ended, true
		}
	}
	return begins, behind
}

// report prints what a side saw.
func (s *seen) report(t *testing.T, name string, others *seen) {
	t.Helper()
	var waits []float64
	for _, turn := range s.Turns {
		waits = append(waits, turn.until()-turn.Asked)
	}
	if len(waits) == 0 {
		t.Errorf("%s never asked", name)
		return
	}
	slices.Sort(waits)
	at := func(q float64) float64 { return waits[int(q*float64(len(waits)-1))] }
	of, late := s.behind(others)
	t.Logf("%s: served %d of %d times; waited p50 %.1f ms, p99 %.1f ms, longest %.1f ms; longest beyond its turn %.1f ms, while nobody had the key %.1f ms; was next behind the other side %d times, and came in more than %s after it was out %d times",
		name, s.served(), len(waits), at(0.5), at(0.99), at(1), s.beyond(others).Seconds()*1000, s.idle(others).Seconds()*1000, of, atOnce, late)
}

// judged runs a contest and reports what is wrong with it.
func (c contest) judged(b *both, during time.Duration) (ours, theirs *seen) {
	b.t.Helper()
	ours, theirs = c.run(b, during)
	b.t.Logf("for %s, each inside %s and outside %s", during, c.inside, c.outside)
	ours.report(b.t, fmt.Sprintf("ours (%d callers)", c.callers), theirs)
	theirs.report(b.t, "Medusa (1 caller)", ours)
	for _, fault := range c.verdict(ours, theirs) {
		b.t.Error(fault)
	}
	return ours, theirs
}
