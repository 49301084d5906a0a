package lockredis_test

import (
	"errors"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/rediskit"
	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// threeNodes are providers on a cluster of three servers, and two keys in slots of
// different ones.
func threeNodes(t *testing.T, providers int) (rigs []*rig, first, second string) {
	t.Helper()
	c := redistest.StartCluster(t, 3, 0)
	for range providers {
		p, _, err := start(t, lockredis.Config{Client: c.Client()})
		if err != nil {
			t.Fatal(err)
		}
		rigs = append(rigs, &rig{p, t, c.Masters[0], nil})
	}
	node := func(key string) int { return rediskit.Slot("medusa_lock:"+key) * 3 / rediskit.Slots }
	first, second = "a", "b"
	for node(second) == node(first) {
		second += "b"
	}
	return rigs, first, second
}

// Within a slot the request that closes the circle gets a DeadlockError at once. Over
// several slots nobody sees the circle: it lasts as long as the shortest of the waits
// does, and the others go on then.
func TestADeadlockOverSeveralSlotsLastsUntilOneOfTheWaitsEnds(t *testing.T) {
	t.Parallel()
	rigs, a, b := threeNodes(t, 2)
	one, two := rigs[0], rigs[1]
	const short, long = 2 * time.Second, time.Minute
	hasA, hasB := one.take("one", 0, a), two.take("two", 0, b)
	began := time.Now()
	first := one.ask(driver.Request{Keys: []string{b}, Owner: "one", Wait: long})
	second := two.ask(driver.Request{Keys: []string{a}, Owner: "two", Wait: short})

	o := asked(t, second, 10*time.Second, "who waits for the shorter time")
	if !errors.Is(o.err, driver.ErrTimeout) {
		t.Fatalf("got %v", o.err)
	}
	if waited := o.at.Sub(began); waited < short {
		t.Errorf("it waited %s of %s", waited, short)
	}
	select {
	case o := <-first:
		t.Fatalf("the other one ended, too: %+v, %v", o.grant, o.err)
	default:
	}
	two.free(hasB)
	got := granted(t, first, 5*time.Second, "who waits for the longer time")
	for _, k := range []string{a, b} {
		if s := one.state(k); s.Owner != "one" || s.Waiting != 0 {
			t.Errorf("of %q is told %+v", k, s)
		}
	}
	one.free(got)
	one.free(hasA)
}

// One call takes the slots in their order, whatever the order of its keys.
func TestCallsThatTakeTheSameKeysOfSeveralSlotsNeverBlockEachOther(t *testing.T) {
	t.Parallel()
	rigs, a, b := threeNodes(t, 2)
	const times = 20
	done := make(chan error, len(rigs))
	for i, keys := range [][]string{{a, b}, {b, a}} {
		r := rigs[i]
		go func() {
			for range times {
				g, err := r.Acquire(bg, driver.Request{Keys: keys, Owner: "*", TTL: time.Minute, Wait: 20 * time.Second})
				if err != nil {
					done <- err
					return
				}
				holds := []driver.Hold{g.Holds[0].Hold, g.Holds[1].Hold}
				if _, err := r.Release(bg, holds); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range rigs {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(60 * time.Second):
			t.Fatal("the calls hang")
		}
	}
}
