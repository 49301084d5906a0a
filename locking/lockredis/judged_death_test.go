package lockredis_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// liveness is for how long a process that died is believed to live.
const liveness = 2 * time.Second

const deadTickets = 5000

// enqueue puts many tickets of as many executions into a queue.
func (c child) enqueue() {
	p := c.provider()
	next := make(chan int)
	var workers sync.WaitGroup
	for range 64 {
		workers.Go(func() {
			for i := range next {
				owner := fmt.Sprint("execution-", i)
				place, err := p.Enqueue(bg, driver.Ticket{ID: "ticket of " + owner, Request: driver.Request{Keys: []string{"k"}, Owner: owner, TTL: time.Minute}})
				c.must(err)
				if place.Offered {
					c.say("offered", owner)
				}
			}
		})
	}
	for i := range deadTickets {
		next <- i
	}
	close(next)
	workers.Wait()
	c.say("enqueued")
	c.rest()
}

// hold takes a key for a fixed time.
func (c child) hold() {
	_, err := c.provider().Acquire(bg, driver.Request{Keys: []string{"k"}, Owner: "victim", TTL: time.Second, Wait: driver.NoWait})
	c.must(err)
	c.say("held")
	c.rest()
}

// holdRenewed takes a key with a lease that is renewed.
func (c child) holdRenewed() {
	c.must(c.service().Execute(bg, locking.Keys("k"), func(context.Context) error {
		c.say("held")
		c.rest()
		return nil
	}, locking.Expire(time.Second)))
}

// wait waits for a key that is never given to it while it lives.
func (c child) wait() {
	_, err := c.provider().Acquire(bg, driver.Request{Keys: []string{"k"}, Owner: "victim", TTL: time.Minute, Wait: time.Minute})
	c.must(err)
	c.say("granted")
	c.rest()
}

// believedDead waits until the server takes no process but this one for live.
func (r *rig) believedDead() {
	r.t.Helper()
	redistest.Eventually(r.t, 2*liveness, func() string {
		var live []string
		for _, k := range r.keys() {
			if strings.Contains(k, "}:p:") {
				live = append(live, k)
			}
		}
		if len(live) > 1 {
			return fmt.Sprintf("live are %q", live)
		}
		return ""
	})
}

func TestALiveWaiterBehind5000TicketsOfDeadExecutionsHasTheLockWithin2s(t *testing.T) {
	for name, known := range map[string]bool{"known to be dead": true, "killed this moment": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			held := r.take("holder", 0, "k")
			dead := startProcess(t, r.server, "enqueue")
			dead.expect("enqueued", 60*time.Second)
			got := r.waitFor(deadTickets, driver.Request{Keys: []string{"k"}, Owner: "live", Wait: time.Minute})
			dead.kill()
			if known {
				r.believedDead()
			}
			start := time.Now()
			r.free(held)
			g := await(t, got, 20*time.Second)
			// The first of them may have been offered the lock while it was believed to live.
			within(t, fmt.Sprintf("the lock behind %d dead tickets", deadTickets), g.at.Sub(start), 2*time.Second)
			r.free(g.grant)
			if s, err := r.Inspect(bg, "k", 1); err != nil || s.Waiting != deadTickets || !s.Waiters[0].Aside {
				t.Errorf("the tickets' places are gone: %d wait, %v", s.Waiting, err)
			}
		})
	}
}

// lapses is when a lock does, on the server's clock.
func (r *rig) lapses(key string) time.Time {
	r.t.Helper()
	at, err := r.redis.PExpireTime(bg, lockredis.DefaultNamespace+key).Result()
	if err != nil || at < 0 {
		r.t.Fatalf("%q lapses at %d, %v", key, at, err)
	}
	return time.UnixMilli(at.Milliseconds())
}

func TestTheNextWaiterHasTheLockOfAKilledHolderWithinItsTTLAnd100ms(t *testing.T) {
	const ttl = time.Second
	for _, role := range []string{"hold", "hold renewed"} {
		t.Run(role, func(t *testing.T) {
			r := newRig(t)
			victim := startProcess(t, r.server, role)
			victim.expect("held", 10*time.Second)
			first := r.lapses("k")
			got := r.waitFor(0, driver.Request{Keys: []string{"k"}, Owner: "next", Wait: time.Minute})
			if role == "hold renewed" {
				redistest.Eventually(t, 10*time.Second, func() string {
					if now := r.lapses("k"); !now.After(first.Add(ttl / 2)) {
						return fmt.Sprintf("it lapses at %s, and did at %s", now, first)
					}
					return ""
				})
			}
			killed := time.Now()
			victim.kill()
			lapses := r.lapses("k")
			g := await(t, got, 10*time.Second)
			t.Logf("granted %s after the kill; the TTL is %s", g.at.Sub(killed), ttl)
			if g.at.Before(lapses.Add(-time.Millisecond)) {
				t.Errorf("granted %s before the victim's lock has lapsed", lapses.Sub(g.at))
			}
			within(t, "after the TTL's end", g.at.Sub(lapses), 100*time.Millisecond)
		})
	}
}

func TestAKilledWaiterAtTheHeadDelaysNobodyBeyondItsLiveness(t *testing.T) {
	for name, c := range map[string]struct {
		known    bool
		promised time.Duration
	}{
		"known to be dead":   {true, 100 * time.Millisecond},
		"killed this moment": {false, liveness},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			held := r.take("holder", 0, "k")
			victim := startProcess(t, r.server, "wait")
			r.queued("k", 1)
			got := r.waitFor(1, driver.Request{Keys: []string{"k"}, Owner: "next", Wait: time.Minute})
			victim.kill()
			if c.known {
				r.believedDead()
			}
			start := time.Now()
			r.free(held)
			within(t, "the lock behind a dead waiter", await(t, got, 10*time.Second).at.Sub(start), c.promised)
		})
	}
}

func TestAWaiterThatLivesKeepsItsPlaceForLongerThanOneLiveness(t *testing.T) {
	r := newRig(t)
	other := r.another()
	held := r.take("holder", 0, "k")
	first := r.waitFor(0, driver.Request{Keys: []string{"k"}, Owner: "first", Wait: time.Minute})
	<-time.After(liveness + tick) // nothing happens but ticks
	second := other.waitFor(1, driver.Request{Keys: []string{"k"}, Owner: "second", Wait: time.Minute})
	start := time.Now()
	r.free(held)
	g := await(t, first, 10*time.Second)
	within(t, "the lock of the first", g.at.Sub(start), 100*time.Millisecond)
	select {
	case <-second:
		t.Error("the second one was served before the first one gave back")
	default:
	}
	r.free(g.grant)
	other.free(await(t, second, 10*time.Second).grant)
}
