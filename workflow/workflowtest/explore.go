package workflowtest

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
)

// Explore makes a history without a death, and then one for each point at which a process
// may die: before and after each call that may change something at the store or the lock
// server. What the clock brings about is no such point: leases, and their renewal. Bodies
// that are under way when their process dies have their contexts ended; what they still do
// is done by a dead process, as if it had been done a moment earlier.
//
// Each history is a subtest, which fails when [Subject.Check] fails it, which is given what
// Run of the last process has returned, or when something has not come to its end or not
// given back its locks within [Subject.Patience]. A run of histories ends with the first in
// which the point was not reached, or that fails. With -run a history is made by itself.
func Explore(t *testing.T, s Subject) {
	t.Helper()
	s.setDefaults()
	if t.Run("no death", func(t *testing.T) { s.explore(t) }) {
		n := s.points(t.Run, s.explore)
		t.Logf("%d points at which the process may die", n)
	}
}

// mostLeftOut is up to which point histories are looked for that -run names.
const mostLeftOut = 300

// runner runs a subtest, unless it is left out, as [testing.T.Run] does.
type runner func(name string, test func(t *testing.T)) (ok bool)

// points has a history made for each point, and for each pair of them where that is asked
// for. History says how many of its points were reached. It answers how many histories of
// one point have reached that.
func (s *Subject) points(run runner, history func(t *testing.T, points ...int) (reached int)) (n int) {
	for first := 1; ; first += max(s.Every, 1) {
		reached, leftOut, ok := made(run, history, fmt.Sprintf("point %d", first), first)
		if !ok || reached < 1 {
			return n // what follows would most often fail alike
		}
		if !leftOut {
			n++
		}
		for second := 1; s.Twice; second++ {
			reached, _, ok := made(run, history, fmt.Sprintf("points %d and %d", first, second), first, second)
			if !ok {
				return n
			}
			if reached < 2 {
				break
			}
		}
	}
}

// made has a history made. Nobody knows what one that is left out would have reached: it
// counts as if it had come to all of its points, since those behind may be asked for.
func made(run runner, history func(t *testing.T, points ...int) int, name string, points ...int) (reached int, leftOut, ok bool) {
	leftOut = true
	ok = run(name, func(t *testing.T) {
		t.Helper()
		leftOut = false
		reached = history(t, points...)
	})
	if leftOut && points[len(points)-1] < mostLeftOut {
		reached = len(points)
	}
	return reached, leftOut, ok
}

// explore makes a history, in no time where nothing in it leaves the process.
func (s *Subject) explore(t *testing.T, points ...int) (reached int) {
	t.Helper()
	dir := t.TempDir()
	if s.World != nil {
		return s.history(t, s.World(t, dir), dir, points)
	}
	synctest.Test(t, func(t *testing.T) { reached = s.history(t, inMemory(t), dir, points) })
	return reached
}

// history makes a history of processes that die at those points, and of one more, and says
// how many of them have died.
func (s *Subject) history(tb testing.TB, w World, dir string, points []int) (reached int) {
	tb.Helper()
	for _, at := range slices.Concat(points, []int{0}) {
		p, err := s.start(tb, dir, w, newDeath(at, func(string) {}))
		if err != nil {
			tb.Fatalf("process %d: %v", reached+1, err)
		}
		err = p.run()
		if s := p.settled(); p.alive() && s != nil {
			tb.Error(s)
		}
		where, dead := p.spare()
		if !dead {
			s.judge(tb, dir, p, err)
			return reached
		}
		tb.Logf("the process dies %s", where)
		p.bury()
		reached++
	}
	panic("workflowtest: the last process has died")
}

// judge ends a process in which all has come to its end, and judges the history.
func (s *Subject) judge(tb testing.TB, dir string, p *process, result error) {
	tb.Helper()
	if err := p.unlocked(); err != nil {
		tb.Error(err)
	}
	if err := p.stop(); err != nil {
		tb.Error("stop:", err)
	}
	s.Check(tb, dir, result)
}
