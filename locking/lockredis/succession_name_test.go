package lockredis_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// byName frees k without a token.
func (r *rig) byName(owner string, want bool) {
	r.t.Helper()
	began := time.Now()
	freed, err := r.Release(bg, []driver.Hold{{Key: "k", Owner: owner}})
	if err != nil || freed[0] != want {
		r.t.Errorf("a release of k by %q: %v, %v, want %t", owner, freed, err, want)
	}
	if took := time.Since(began); took > time.Second {
		r.t.Errorf("it took %s", took)
	}
}

func TestWhoHasTheLockOfALineFreesItByName(t *testing.T) {
	t.Parallel()
	for begun := range 3 {
		t.Run(fmt.Sprint(begun), func(t *testing.T) {
			t.Parallel()
			r := successionRig(t)
			g, others := r.succession(3)
			for i := range begun {
				g = r.passes(g, others[i])
			}
			r.byName("*", true)
			for _, got := range others[begun:] {
				r.free(granted(t, got, time.Second, "the next"))
			}
			r.nobodyHas()
		})
	}
}

func TestWhoHasNotTheLockOfALineFreesNothingByName(t *testing.T) {
	t.Parallel()
	r := successionRig(t)
	first, others := r.successionOf("*", "execute:2")
	second := r.passes(first, others[0])
	r.byName("*", false)
	r.free(second)
	r.nobodyHas()
}

// What the line had is gone, and another program has it, as an owner of the same name.
func TestAReleaseByNameFreesWhatTheNameHasAlthoughTheLinesLockIsGone(t *testing.T) {
	t.Parallel()
	r := successionRig(t)
	r.succession(1)
	first := r.take("*", 0, "other")
	r.free(first)
	r.redis.Set(bg, "medusa_lock:k", "*", 0)
	r.byName("*", true)
	r.nobodyHas()
}

// As Medusa's callers do.
func TestCallersThatReleaseByNameGetOnWithEachOther(t *testing.T) {
	t.Parallel()
	s := newService(t, redistest.Start(t))
	var callers sync.WaitGroup
	began := time.Now()
	for range 8 {
		callers.Go(func() {
			for range 50 {
				if _, err := s.Acquire(bg, locking.Keys("k"), locking.Wait(30*time.Second)); err != nil {
					t.Error(err)
					return
				}
				if freed, err := s.Release(bg, locking.Keys("k")); !freed || err != nil {
					t.Errorf("freed %t, %v", freed, err)
				}
			}
		})
	}
	callers.Wait()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("400 turns took %s", took)
	}
}

// The answer that named the line is lost; its first learns of its grant when it is stated
// again.
func TestALineWhoseNamesWereLostIsToldAgain(t *testing.T) {
	t.Parallel()
	r, w := wiredSuccessionRig(t)
	g := r.take("*", 0, "k")
	brief, first, second, third := r.follow("*"), r.follow("*"), r.follow("*"), r.follow("*")
	b := r.passes(g, brief)
	lost := w.lose(fmt.Sprint(hold(b).Token))
	r.free(b)
	lost.happens(t)
	granted(t, first, 5*time.Second, "the first")
	if open, _ := r.Successions(); open != 1 {
		t.Errorf("%d locks are handed on here", open)
	}
	r.byName("*", true)
	r.free(granted(t, second, time.Second, "the second"))
	r.free(granted(t, third, time.Second, "the third"))
	r.nobodyHas()
}

// Its process does not answer, and the lock lapses and goes to the next before it is asked
// again.
func TestAReleaseByNameFreesNothingThatBeganAfterIt(t *testing.T) {
	t.Parallel()
	r, w := wiredSuccessionRig(t)
	other := r.another()
	r.succession(2)
	theirs := other.follow("*")
	w.sever()
	released := make(chan bool)
	go func() {
		freed, err := other.Release(bg, []driver.Hold{{Key: "k", Owner: "*"}})
		if err != nil {
			t.Error(err)
		}
		released <- err == nil && freed[0]
	}()
	next := granted(t, theirs, 10*time.Second, "the other process's") // those of the line are passed over by then
	if <-released {
		t.Error("it freed what the next one has")
	}
	other.free(next)
	w.mend()
}

// A successor begins while its own request has no answer; then the connection breaks.
func TestOneOfALineThatIsServedBeforeItsRequestIsAnswered(t *testing.T) {
	t.Parallel()
	r, w := wiredSuccessionRig(t)
	g := r.take("*", 0, "k")
	brief, first := r.follow("*"), r.follow("*")
	slow := w.slowAnswer(t, "execute:zz")
	last := r.ask(driver.Request{Keys: []string{"k"}, Owner: "execute:zz", Wait: time.Minute})
	slow.happens(t)
	r.inLine("k", 3)
	r.free(r.passes(r.passes(g, brief), first))
	w.sever()
	w.mend()
	closeUnlessClosed(slow.let)
	z := granted(t, last, 10*time.Second, "the last")
	if _, err := r.Release(bg, []driver.Hold{hold(z)}); err != nil {
		t.Error(err)
	}
	r.nobodyHas()
}
