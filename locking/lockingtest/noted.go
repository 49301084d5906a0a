package lockingtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// noted passes calls on, and notes what a case has to give back, and what the
// provider tells by itself. Its methods of a [driver.Queuer] and of a
// [driver.Inspector] are for cases that say that they need one.
type noted struct {
	driver.Provider

	news   news
	ledger *ledger
}

// Acquire notes what is granted.
func (n *noted) Acquire(ctx context.Context, req driver.Request) (driver.Grant, error) {
	grant, err := n.Provider.Acquire(ctx, req)
	n.ledger.grant(grant)
	return grant, err
}

func (n *noted) queuer() driver.Queuer {
	q, _ := n.Provider.(driver.Queuer)
	return q
}

func (n *noted) inspector() driver.Inspector {
	i, _ := n.Provider.(driver.Inspector)
	return i
}

// ledger is what a case has had of its providers.
type ledger struct {
	mu      sync.Mutex
	calls   []*call
	holds   map[driver.Hold]bool // without token and generation
	tickets map[string]driver.Ticket
}

func (l *ledger) call(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, c)
}

func (l *ledger) grant(grant driver.Grant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holds == nil {
		l.holds = map[driver.Hold]bool{}
	}
	for i := range grant.Holds {
		l.holds[driver.Hold{Key: grant.Holds[i].Key, Owner: grant.Holds[i].Owner}] = true
	}
}

func (l *ledger) ticket(t driver.Ticket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tickets == nil {
		l.tickets = map[string]driver.Ticket{}
	}
	l.tickets[t.ID] = t
}

// giveAllBack ends what a case has left open, where the subject can tell whether
// something is left then.
func (r *rig) giveAllBack() {
	if r.subject.Left == nil || r.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.patience)
	defer cancel()
	for _, c := range r.ledger.calls { // the case is over: nobody begins a call
		c.cancel()
		select {
		case <-c.done:
		case <-ctx.Done():
			r.Errorf("Acquire(%s) has not ended %s after it was cancelled", describe(c.req), r.patience)
			return
		}
	}
	for _, t := range r.ledger.tickets {
		if _, err := r.p.queuer().Cancel(ctx, t); err != nil {
			r.Errorf("Cancel(ticket %.40q): %v", t.ID, err)
		}
	}
	var holds []driver.Hold
	for h := range r.ledger.holds {
		holds = append(holds, h)
	}
	if _, err := r.p.Release(ctx, holds); err != nil {
		r.Errorf("Release of all that the case had: %v", err)
	}
}

// leftFor is how long what a case gave back may still be seen in the storage.
const leftFor = 3 * time.Second

// wantNothingLeft expects that the provider's storage keeps nothing of a case that
// is over.
func (r *rig) wantNothingLeft() {
	if r.subject.Left == nil || r.Failed() {
		return
	}
	Eventually(r.TB, min(leftFor, r.patience), "what a case has given back leaves nothing in the storage", func() (bool, string) {
		left := r.subject.Left(r.TB)
		return len(left) == 0, fmt.Sprintf("%d are left:\n\t%s", len(left), strings.Join(left, "\n\t"))
	})
}

// news are the events of one provider.
type news struct {
	mu      sync.Mutex
	inside  int
	overlap bool
	events  []driver.Event
}

// hear is a provider's Notify.
func (n *news) hear(e driver.Event) {
	n.mu.Lock()
	n.inside++
	n.overlap = n.overlap || n.inside > 1
	n.events = append(n.events, e)
	n.mu.Unlock()
	yield(3) // long enough for another one to be seen
	n.mu.Lock()
	n.inside--
	n.mu.Unlock()
}

func (n *news) list() []driver.Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.events)
}

// find returns the last event that is wanted.
func (n *news) find(wanted func(driver.Event) bool) (driver.Event, bool) {
	for _, e := range slices.Backward(n.list()) {
		if wanted(e) {
			return e, true
		}
	}
	return driver.Event{}, false
}

// wantEvent expects a provider to tell of something within the case's patience.
func (r *rig) wantEvent(p *noted, what string, wanted func(driver.Event) bool) driver.Event {
	r.Helper()
	var seen driver.Event
	Eventually(r.TB, r.patience, "an event: "+what, func() (yes bool, saw string) {
		seen, yes = p.news.find(wanted)
		return yes, fmt.Sprintf("%+v", p.news.list())
	})
	return seen
}
