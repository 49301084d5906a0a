package lockredis_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

func TestThoseOfALineThatHaveHadTheirTurnDoNotDelayTheOthersWhenItLapses(t *testing.T) {
	t.Parallel()
	r := successionRig(t)
	other := r.another()
	first, others := r.succession(6)
	for i := range 4 {
		first = r.passes(first, others[i])
	}
	theirs := other.follow("*")
	until := first.Holds[0].Until
	r.free(granted(t, others[4], 5*time.Second, "the last of the line"))
	other.free(granted(t, theirs, 3*time.Second, "the other process's"))
	t.Logf("served %s after the end", time.Since(until))
	if freed, err := r.Release(bg, []driver.Hold{hold(first)}); err != nil || freed[0] {
		t.Errorf("what had lapsed was freed: %v, %v", freed, err)
	}
	r.handsOnNothing()
	r.nobodyHas()
}

func TestALineWhoseLockWasDeletedFreesNothingAndLeavesNothing(t *testing.T) {
	t.Parallel()
	r := successionRig(t)
	other := r.another()
	first, others := r.succession(4)
	second := r.passes(first, others[0])
	third := r.passes(second, others[1])
	theirs := other.follow("*")
	r.redis.Del(bg, "medusa_lock:k")
	r.stopsHandingOn(1500 * time.Millisecond) // three ticks: the offer lapses only later
	if freed, err := r.Release(bg, []driver.Hold{hold(third)}); err != nil || freed[0] {
		t.Errorf("it was freed: %v, %v", freed, err)
	}
	r.free(granted(t, others[2], 5*time.Second, "the fourth"))
	other.free(granted(t, theirs, 5*time.Second, "the other process's"))
	r.nobodyHas()
}

// The server gives the lock to the second, while the first knows of nothing.
func TestALineWhoseLockWasGivenOnByTheServerIsNotHandedOnHere(t *testing.T) {
	t.Parallel()
	r := successionRig(t)
	first, others := r.succession(3)
	r.redis.Del(bg, "medusa_lock:k")
	second := granted(t, others[0], 5*time.Second, "the second")
	if freed, err := r.Release(bg, []driver.Hold{hold(first)}); err != nil || freed[0] {
		t.Errorf("the first freed what the second has: %v, %v", freed, err)
	}
	if len(others[1]) > 0 {
		t.Fatal("the third was let in beside the second")
	}
	r.busy("*", "k")
	r.free(r.passes(second, others[1]))
	r.nobodyHas()
}

func TestTheEndOfALineThatGetsNoAnswerIsSaidAgain(t *testing.T) {
	t.Parallel()
	r, w := wiredSuccessionRig(t)
	other := r.another()
	first, others := r.succession(3)
	third := r.passes(r.passes(first, others[0]), others[1])
	theirs := other.follow("*")
	lost := w.lose(fmt.Sprint(hold(third).Token))
	r.free(third)
	lost.happens(t)
	other.free(granted(t, theirs, time.Second, "the other process's"))
	other.nobodyHas()
}

func TestALineOverAServerThatForgetsEverythingGoesOn(t *testing.T) {
	t.Parallel()
	r, w := wiredSuccessionRig(t)
	first, others := r.succession(4)
	second := r.passes(first, others[0])
	asking := w.holdBack(t, "medusa_lock:k") // it stops before it has asked where it stands
	if err := r.redis.FlushAll(bg).Err(); err != nil {
		t.Fatal(err)
	}
	r.killLines()
	asking.happens(t)
	r.stopsHandingOn(200 * time.Millisecond)
	asking.goOn(t)
	if freed, err := r.Release(bg, []driver.Hold{hold(second)}); err != nil || freed[0] {
		t.Errorf("the release: %v, %v", freed, err)
	}
	for _, got := range others[1:] {
		g := granted(t, got, 5*time.Second, "the next")
		if hold(g).Token <= hold(second).Token {
			t.Errorf("token %d after %d", hold(g).Token, hold(second).Token)
		}
		r.free(g)
	}
	r.nobodyHas()
}

// Nobody else asks for the lock, so that nobody comes upon what is left.
func TestALineThatLapsesLeavesNothing(t *testing.T) {
	t.Parallel()
	r := successionRig(t)
	first, others := r.succession(3)
	r.passes(r.passes(first, others[0]), others[1])
	redistest.Eventually(t, 5*time.Second, func() string {
		if open, closed := r.Successions(); open+closed > 0 {
			return "the lock is handed on still"
		}
		return ""
	})
	r.nobodyHas()
}
