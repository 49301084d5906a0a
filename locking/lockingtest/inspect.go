package lockingtest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// inspect tells of a key; it is for providers that can be looked into.
func (r *rig) inspect(key string, waiters int) driver.State {
	r.Helper()
	state, err := r.p.inspector().Inspect(r.ctx, key, waiters)
	if err != nil {
		r.Fatalf("Inspect(%.40q): %v", key, err)
	}
	return state
}

func inspectCases() []providerCase {
	cases := slices.Concat(keyCases(), queueLookCases(), listCases(), forceCases(), revokedCases(), auditCases())
	for i := range cases {
		cases[i].look = true
	}
	return cases
}

// clocksApart is by how much a server's clock may differ from this one's in a test.
const clocksApart = time.Minute

func keyCases() []providerCase {
	return []providerCase{
		{
			name: "InspectFree",
			rule: "a key that nobody has is not held, and nobody waits for it",
			run: func(r *rig) {
				s := r.inspect("a", 10)
				if s.Key != "a" || s.Held || s.Owner != "" || s.Token != 0 || s.Waiting != 0 || len(s.Waiters) != 0 {
					r.Errorf("the state is %+v, want that of a free key", s)
				}
			},
		},
		{
			name: "InspectHeld",
			rule: "a key that is held has its holder's owner, generation and token, and since when",
			run:  inspectHeld,
		},
		{
			name: "InspectExpiry",
			rule: "a lock that lapses has its time to live, and one that does not has none",
			run: func(r *rig) {
				r.take(lasting(ask("owner", "a"), forever))
				r.take(ask("owner", "b"))
				if s := r.inspect("a", 0); !s.Expires || s.TTL > forever || s.TTL < forever-r.patience {
					r.Errorf("with a TTL of %s the state is %+v", forever, s)
				}
				if s := r.inspect("b", 0); s.Expires || s.TTL != 0 {
					r.Errorf("without a TTL the state is %+v", s)
				}
			},
		},
		{
			name: "InspectLapsed",
			rule: "a key whose lock has lapsed is not held",
			run: func(r *rig) {
				r.take(lasting(ask("owner", "a"), instant))
				Eventually(r.TB, r.patience, "the lock is not held any more", func() (bool, string) {
					s := r.inspect("a", 0)
					return !s.Held && s.Owner == "", fmt.Sprintf("%+v", s)
				})
			},
		},
		{
			name:  "InspectOffer",
			rule:  "a key that was offered to a ticket is held as an offer, until it is claimed",
			queue: true,
			run: func(r *rig) {
				t := ticket("t", ask("owner", "a"))
				offer := r.offered(t)[0]
				if s := r.inspect("a", 10); !s.Held || !s.Offer || !s.Expires || s.Token != offer.Token {
					r.Errorf("offered the state is %+v, want the offer of token %d", s, offer.Token)
				}
				r.claim(t)
				if s := r.inspect("a", 10); !s.Held || s.Offer || s.Expires || s.Token != offer.Token {
					r.Errorf("claimed the state is %+v, want the full hold of token %d", s, offer.Token)
				}
			},
		},
		{
			name: "InspectsAnyBytes",
			rule: "a key that is looked into, and its owner, may hold any bytes",
			run: func(r *rig) {
				for i, name := range oddNames() {
					r.take(ask(name+"-owner", name))
					if s := r.inspect(name, 1); s.Key != name || s.Owner != name+"-owner" {
						r.Errorf("state %d is %+v, want that of %q", i, s, name)
					}
				}
			},
		},
		{
			name: "NoLooksAfterClose",
			rule: "before Start and after Close calls of an Inspector get ErrClosed",
			run: func(r *rig) {
				p := r.another()
				r.closeIt(p)
				r.wantNoLooks(p.inspector())
				fresh, _ := r.subject.New(r.TB).(driver.Inspector)
				r.Cleanup(func() { _ = fresh.Close(r.ctx) })
				r.wantNoLooks(fresh)
			},
		},
	}
}

func inspectHeld(r *rig) {
	h := r.takeOne(generation(ask("owner", "a"), 3, 4))
	s := r.inspect("a", 10)
	if !s.Held || s.Key != "a" || s.Owner != "owner" || s.Generation != h.Generation || s.Token != h.Token {
		r.Errorf("the state is %+v, want that of %+v", s, h.Hold)
	}
	if s.Foreign || s.Offer || s.Revoked || s.Reason != "" {
		r.Errorf("the state is %+v, want a full hold of this program's", s)
	}
	if ago := time.Since(s.Since).Abs(); ago > clocksApart {
		r.Errorf("held since %v, want the time of the grant", s.Since)
	}
}

func (r *rig) wantNoLooks(i driver.Inspector) {
	r.Helper()
	_, inspect := i.Inspect(r.ctx, "a", 1)
	_, list := i.List(r.ctx, driver.ListRequest{})
	_, force := i.ForceRelease(r.ctx, driver.ForceRequest{Key: "a", Owner: "owner", Token: 1})
	_, audit := i.Audit(r.ctx, 1)
	for what, err := range map[string]error{"Inspect": inspect, "List": list, "ForceRelease": force, "Audit": audit} {
		if !errors.Is(err, driver.ErrClosed) {
			r.Errorf("%s: %v, want %v", what, err, driver.ErrClosed)
		}
	}
}

func queueLookCases() []providerCase {
	return []providerCase{
		{
			name: "InspectWaiters",
			rule: "those who wait for a key are told in the order in which they will be served, with owner, keys and rank",
			run: func(r *rig) {
				r.take(ask("holder", "a"))
				r.line(ask("first", "a"))
				r.line(ask("second", "a", "b"))
				r.line(compensating(ask("undo", "a")))
				s := r.inspect("a", 10)
				want := []driver.Waiter{
					{Owner: "undo", Keys: []string{"a"}, Rank: driver.Compensation},
					{Owner: "first", Keys: []string{"a"}},
					{Owner: "second", Keys: []string{"a", "b"}},
				}
				r.wantWaiters(s, 3, want...)
				r.wantWaiters(r.inspect("b", 10), 1, want[2])
			},
		},
		{
			name: "InspectAsManyAsAsked",
			rule: "at most as many waiters are told as were asked for, the first ones; how many there are is told all the same",
			run: func(r *rig) {
				r.take(ask("holder", "a"))
				for i := range 3 {
					r.line(ask(fmt.Sprintf("waiter-%d", i), "a"))
				}
				waiters := []driver.Waiter{{Owner: "waiter-0", Keys: []string{"a"}}, {Owner: "waiter-1", Keys: []string{"a"}}}
				r.wantWaiters(r.inspect("a", 2), 3, waiters...)
				r.wantWaiters(r.inspect("a", 0), 3)
			},
		},
		{
			name:  "InspectTickets",
			rule:  "a ticket that waits is told with its id, a call that blocks without one",
			queue: true,
			run: func(r *rig) {
				r.take(ask("holder", "a"))
				r.park(ticket("the \xff ticket", ask("owner", "a")))
				r.line(ask("waiter", "a"))
				r.wantWaiters(r.inspect("a", 10), 2,
					driver.Waiter{Owner: "owner", Keys: []string{"a"}, Ticket: "the \xff ticket"}, driver.Waiter{Owner: "waiter", Keys: []string{"a"}})
			},
		},
		{
			name: "InspectWaited",
			rule: "of each waiter it is told how long it has waited",
			run: func(r *rig) {
				r.take(ask("holder", "a"))
				before := time.Now()
				c := r.line(ask("waiter", "a"))
				c.wantBlocked()
				s := r.inspect("a", 1)
				if len(s.Waiters) != 1 || s.Waiters[0].Waited < blockedFor-early || s.Waiters[0].Waited > time.Since(before)+early {
					r.Errorf("the waiters are %+v, want one that has waited %s", s.Waiters, time.Since(before))
				}
			},
		},
		{
			name: "InspectNoLongerWaiting",
			rule: "who was cancelled, or served, waits no longer",
			run: func(r *rig) {
				h := r.takeOne(ask("holder", "a"))
				leaver, c := r.line(ask("leaver", "a")), r.line(ask("waiter", "a"))
				leaver.cancel()
				_, _ = leaver.wait() // its error is another case's
				r.wantWaiters(r.inspect("a", 10), 1, driver.Waiter{Owner: "waiter", Keys: []string{"a"}})
				r.wantFreed(true, h.Hold)
				c.wantGrant()
				r.wantWaiters(r.inspect("a", 10), 0)
			},
		},
	}
}

// wantWaiters expects how many wait, and who is told of; the time apart.
func (r *rig) wantWaiters(s driver.State, waiting int, want ...driver.Waiter) {
	r.Helper()
	same := slices.EqualFunc(s.Waiters, want, func(a, b driver.Waiter) bool {
		return a.Owner == b.Owner && slices.Equal(a.Keys, b.Keys) && a.Rank == b.Rank && a.Ticket == b.Ticket && !a.Aside
	})
	if s.Waiting != waiting || !same {
		r.Errorf("%d wait for %q, told are %+v; want %d, and %+v", s.Waiting, s.Key, s.Waiters, waiting, want)
	}
}

func listCases() []providerCase {
	return []providerCase{
		{
			name: "ListTellsWhatIsHeld",
			rule: "List has the keys that are held, with what Inspect tells of the holder, and no others",
			run:  listTellsWhatIsHeld,
		},
		{
			name: "ListSkipsLapsed",
			rule: "what has lapsed is on no page",
			run: func(r *rig) {
				r.take(lasting(ask("owner", "a"), instant))
				r.take(ask("owner", "b"))
				Eventually(r.TB, r.patience, "only what has not lapsed is listed", func() (bool, string) {
					all := r.list(0, func() {})
					return len(all) == 1 && all["b"].Owner == "owner", fmt.Sprintf("%+v", all)
				})
			},
		},
		{
			name: "ListInPages",
			rule: "what is held all the time is on some page, however small the pages are and whatever comes and goes meanwhile",
			run:  listInPages,
		},
		{
			name: "ListIsLimited",
			rule: "a page has about as many locks as were asked for",
			run: func(r *rig) {
				keys := make([]string, 200)
				for i := range keys {
					keys[i] = fmt.Sprintf("key-%03d", i)
				}
				r.take(ask("owner", keys...))
				page, err := r.p.inspector().List(r.ctx, driver.ListRequest{Limit: 10})
				if err != nil || len(page.Locks) > len(keys)/2 || page.Next == "" {
					r.Errorf("a page of 10 has %d locks and goes on at %q, %v; want about 10, and another page", len(page.Locks), page.Next, err)
				}
			},
		},
	}
}

// list reads all pages, with a visit between two of them.
func (r *rig) list(limit int, between func()) map[string]driver.State {
	r.Helper()
	all := map[string]driver.State{}
	req := driver.ListRequest{Limit: limit}
	for pages := 0; ; pages++ {
		page, err := r.p.inspector().List(r.ctx, req)
		if err != nil {
			r.Fatalf("List(%+v): %v", req, err)
		}
		for _, s := range page.Locks {
			all[s.Key] = s
		}
		if req.Cursor = page.Next; req.Cursor == "" {
			return all
		}
		if pages > 1000 {
			r.Fatalf("List has no end: %d pages, %d locks", pages, len(all))
		}
		between()
	}
}

func listTellsWhatIsHeld(r *rig) {
	a := r.takeOne(lasting(generation(ask("one", "a"), 1, 2), forever))
	b := r.takeOne(ask(driver.Anonymous, "b\xff"))
	gone := r.takeOne(ask("three", "c"))
	r.wantFreed(true, gone.Hold)
	all := r.list(0, func() {})
	if len(all) != 2 {
		r.Errorf("%d locks are listed, want 2: %+v", len(all), all)
	}
	for _, want := range []driver.Granted{a, b} {
		s, told := all[want.Key], r.inspect(want.Key, 0)
		if !s.Held || s.Owner != want.Owner || s.Token != want.Token || s.Generation != want.Generation ||
			s.Expires != told.Expires || !s.Since.Equal(told.Since) {
			r.Errorf("listed is %+v, and inspected %+v; want both of %+v", s, told, want.Hold)
		}
	}
}

func listInPages(r *rig) {
	const n = 40
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%02d", i)
	}
	r.take(ask("owner", keys...))
	visits := 0
	all := r.list(7, func() {
		visits++
		come := r.takeOne(ask("guest", fmt.Sprintf("guest-%d", visits)))
		if visits%2 == 0 {
			r.wantFreed(true, come.Hold)
		}
	})
	for _, key := range keys {
		if all[key].Owner != "owner" {
			r.Errorf("%q was held all the time, and is on no page", key)
		}
	}
}
