package lockredis_test

import (
	"errors"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// threeNodes are providers on a cluster of three servers, and two keys in slots of
// different ones.
func threeNodes(t *testing.T, providers int) (rigs []*rig, first, second string) {
	t.Helper()
	c := newCrossings(t)
	for range providers {
		rigs = append(rigs, c.process(nil))
	}
	keys := c.keys(2)
	return rigs, keys[0], keys[1]
}

// Who has no name holds nothing that others could find by it.
func TestADeadlockOfAnonymousOwnersOverSeveralSlotsLastsUntilOneOfTheWaitsEnds(t *testing.T) {
	t.Parallel()
	rigs, a, b := threeNodes(t, 2)
	one, two := rigs[0], rigs[1]
	const short, long = 2 * time.Second, time.Minute
	hasA, hasB := one.take("*", 0, a), two.take("*", 0, b)
	began := time.Now()
	first := one.ask(driver.Request{Keys: []string{b}, Owner: "*", Wait: long})
	second := two.ask(driver.Request{Keys: []string{a}, Owner: "*", Wait: short})

	o := asked(t, second, 10*time.Second, "who waits for the shorter time")
	if !errors.Is(o.err, driver.ErrTimeout) {
		t.Fatalf("got %v", o.err)
	}
	if waited := o.at.Sub(began); waited < short {
		t.Errorf("it waited %s of %s", waited, short)
	}
	two.free(hasB)
	one.free(granted(t, first, 5*time.Second, "who waits for the longer time"))
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
