package lockredis_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// killLines kills all push connections: what is published before they are made anew
// reaches nobody.
func (r *rig) killLines() {
	r.t.Helper()
	if err := r.redis.ClientKillByFilter(bg, "type", "pubsub").Err(); err != nil {
		r.t.Error(err)
	}
}

// killNowAndThen frees what is held, and kills the push connections with that and so
// many times more until all are served. It returns the longest pause between two grants.
func (c *crowd) killNowAndThen(r *rig, held driver.Grant, kills, waiters int) time.Duration {
	c.t.Helper()
	start := time.Now()
	r.killLines()
	r.free(held)
	for i := 1; i <= kills; i++ {
		redistest.Eventually(c.t, 60*time.Second, func() string {
			if n := c.served(); n < i*waiters/(kills+1) {
				return fmt.Sprintf("served are %d", n)
			}
			return ""
		})
		r.killLines()
	}
	c.running.Wait()
	longest := c.at[0].Sub(start)
	for i := 1; i < len(c.at); i++ {
		longest = max(longest, c.at[i].Sub(c.at[i-1]))
	}
	return longest
}

// In one process grants come with the answers to releases, in two they are pushed.
func TestWaitersAreServedInOrderAlthoughTheirPushConnectionIsKilled(t *testing.T) {
	const waiters, kills = 300, 5
	for name, processes := range map[string]int{"of one process": 1, "of two": 2} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			held := r.take("holder", 0, "k")
			rigs := []*rig{r}
			for len(rigs) < processes {
				rigs = append(rigs, r.another())
			}
			c := gather(waiters, waiters, rigs...)
			order := one(r.lineUp(waiters))
			if n := r.pushConnections(); n != processes {
				t.Errorf("%d push connections for %d waiters", n, waiters)
			}
			within(t, "the longest pause", c.killNowAndThen(r, held, kills, waiters), tick)
			c.inOrder(order)
			redistest.Eventually(t, 5*time.Second, func() string {
				if n := r.pushConnections(); n != processes {
					return fmt.Sprintf("%d push connections in the end", n)
				}
				return ""
			})
		})
	}
}

func TestTicketsAreServedInOrderAlthoughTheirPushConnectionIsKilled(t *testing.T) {
	const tickets, kills = 300, 5
	r := newRig(t)
	held := r.take("holder", 0, "k")
	events := make(chan driver.Event, 10*tickets)
	p, err := startTold(t, configOf(r), func(e driver.Event) { events <- e })
	if err != nil {
		t.Fatal(err)
	}
	executions := &rig{p, t, r.server, r.redis}
	c := &crowd{t: t, grants: map[string][]driver.Token{}}
	byID := map[string]driver.Ticket{}
	var order []string
	for i := range tickets {
		owner := fmt.Sprintf("execution-%03d", i)
		ticket := driver.Ticket{ID: owner, Request: driver.Request{Keys: []string{"k"}, Owner: owner, TTL: time.Minute}}
		if place, err := p.Enqueue(bg, ticket); err != nil || place.Offered {
			t.Fatalf("%s: offered %t, %v", owner, place.Offered, err)
		}
		byID[owner], order = ticket, append(order, owner)
	}
	c.running.Go(func() { c.claimAll(executions, byID, events) })
	within(t, "the longest pause", c.killNowAndThen(r, held, kills, tickets), tick)
	c.inOrder(one(order))
}

// claimAll claims each ticket when it is offered its key, and gives the key back. An event
// may come twice.
func (c *crowd) claimAll(r *rig, byID map[string]driver.Ticket, events <-chan driver.Event) {
	var claims sync.WaitGroup
	defer claims.Wait()
	for len(byID) > 0 {
		select {
		case e := <-events:
			ticket, ok := byID[e.Ticket]
			if !ok {
				continue
			}
			delete(byID, e.Ticket)
			if e.Err != nil {
				c.t.Errorf("%s was told %v", e.Ticket, e.Err)
				continue
			}
			claims.Go(func() {
				g, err := r.Claim(bg, ticket)
				if err != nil {
					c.t.Errorf("%s: %v", ticket.ID, err)
					return
				}
				c.note(ticket.ID, g)
				r.free(g)
			})
		case <-time.After(10 * time.Second):
			c.t.Errorf("%d tickets have been offered nothing for 10 s", len(byID))
			return
		}
	}
}
