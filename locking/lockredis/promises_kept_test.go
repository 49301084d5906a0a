package lockredis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// soonAfter bounds what does not have to wait for anything.
const soonAfter = 10 * time.Second

func keepsItFromOthers(w *world) func(*world) {
	key := w.key("kept")
	held := w.one.take("me", 0, key)
	return func(w *world) {
		w.other.busy("you", key)
		w.one.free(held)
		w.other.free(w.other.take("you", 0, key))
	}
}

// Two processes wait in turn. Those who are served later have higher tokens.
func inTheirOrder(w *world) func(*world) {
	const n = 30
	key := w.key("line")
	held := w.take(0, key)
	served := make(chan string, 2*n)
	var want []string
	for i := range n {
		r, owner := []*rig{w.one, w.other}[i%2], fmt.Sprint("w", i)
		got := w.waits(r, i, owner, key)
		want = append(want, owner)
		go func() {
			o := <-got
			served <- owner
			if o.err != nil {
				w.t.Errorf("%s: %v", owner, o.err)
				return
			}
			r.free(o.grant)
		}()
	}
	both := w.live()
	return func(w *world) {
		redistest.Eventually(w.t, 20*time.Second, func() string { // who is out of reach is passed over
			live, told, state := w.live(), w.told(), w.one.state(key)
			for _, process := range both {
				if !slices.Contains(live, process) || !slices.Contains(told, process) || state.Waiting != n {
					return fmt.Sprintf("%d wait, live are %q, and told of grants %q", state.Waiting, live, told)
				}
			}
			return ""
		})
		w.giveBack(held)
		var got []string
		for range n {
			select {
			case owner := <-served:
				got = append(got, owner)
			case <-time.After(soonAfter):
				w.t.Fatalf("served are only %q; of the key is told %+v", got, w.one.state(key))
			}
		}
		if !slices.Equal(got, want) {
			w.t.Errorf("served were %q", got)
		}
		w.free(key)
		if len(served) > 0 {
			w.t.Errorf("%q was served twice", <-served)
		}
	}
}

// free waits until nobody has a key, or waits for it.
func (w *world) free(key string) {
	w.t.Helper()
	redistest.Eventually(w.t, soonAfter, func() string {
		if s := w.one.state(key); s.Held || s.Waiting > 0 {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
}

func allOrNone(w *world) func(*world) {
	first, busy, last := w.key("all-1"), w.key("all-2"), w.key("all-3")
	held := w.take(0, busy)
	got := w.waits(w.other, 0, "w", first, busy, last)
	return func(w *world) {
		w.one.queued(first, 1)
		for _, key := range []string{first, last} {
			if s := w.one.state(key); s.Held {
				w.t.Errorf("%q is held while another of the keys is busy: %+v", key, s)
			}
		}
		beside := w.key("all-0")
		w.one.busy("y", beside, busy)
		w.one.free(w.one.take("z", 0, beside)) // y has nothing of it
		w.giveBack(held)
		w.other.free(granted(w.t, got, soonAfter, "the request"))
		for _, key := range []string{first, busy, last} {
			w.free(key)
		}
	}
}

func tokensRise(w *world) func(*world) {
	key := w.key("token")
	before := w.one.take("me", 0, key)
	w.one.free(before)
	return func(w *world) {
		after := w.other.take("me", 0, key)
		if hold(after).Token <= hold(before).Token {
			w.t.Errorf("the token is %d, before it was %d", hold(after).Token, hold(before).Token)
		}
		w.other.free(after)
	}
}

func fenceRefuses(w *world) func(*world) {
	key, data := w.key("fenced"), w.key("data")
	fence := lockredis.Fence{Client: w.client}
	write := func(token driver.Token, value string) error {
		_, err := fence.Write(bg, data, token, lockredis.Cmd("SET", data, value))
		return err
	}
	var tokens []driver.Token
	next := func(w *world) {
		g := w.one.take("me", 0, key)
		tokens = append(tokens, hold(g).Token)
		if err := write(hold(g).Token, fmt.Sprint("by number ", len(tokens))); err != nil {
			w.t.Errorf("the newest holder, number %d: %v", len(tokens), err)
		}
		w.one.free(g)
	}
	next(w)
	next(w)
	return func(w *world) {
		if !w.forgets { // a fence is as lasting as what it is for
			if err := write(tokens[0], "late"); !errors.Is(err, lockredis.ErrStaleToken) {
				w.t.Errorf("an old holder, after %d: %v", tokens[1], err)
			}
		}
		next(w)
		for _, old := range tokens[:2] {
			if err := write(old, "late"); !errors.Is(err, lockredis.ErrStaleToken) {
				w.t.Errorf("a holder from before, after %d: %v", tokens[2], err)
			}
		}
		if v := w.one.redis.Get(bg, data).Val(); v != "by number 3" {
			w.t.Errorf("written is %q", v)
		}
	}
}

func ownerAndToken(w *world) func(*world) {
	key := w.key("token-compared")
	old := hold(w.one.take("*", 0, key))
	w.one.free(driver.Grant{Holds: []driver.Granted{{Hold: old}}})
	now := w.other.take("*", 0, key)
	return func(w *world) {
		if w.forgets {
			now = w.other.take("*", 0, key)
		}
		for what, wrong := range map[string]driver.Hold{
			"another token":  old,
			"another owner":  {Key: key, Owner: "you", Token: hold(now).Token},
			"another's name": {Key: key, Owner: "you"},
		} {
			if freed, err := w.one.Release(bg, []driver.Hold{wrong}); err != nil || freed[0] {
				w.t.Errorf("released by %s: %v, %v", what, freed, err)
			}
			if ext, err := w.one.Extend(bg, time.Minute, []driver.Hold{wrong}); err != nil || ext[0].Held {
				w.t.Errorf("extended by %s: %+v, %v", what, ext, err)
			}
		}
		w.one.busy("*", key)
		w.other.free(now)
	}
}

func releasedTogether(w *world) func(*world) {
	theirs := w.one.take("others", 0, w.key("together-0"))
	for _, name := range []string{"together-1", "together-2"} {
		w.one.take("together", 0, w.key(name))
	}
	byName := w.key("together-3")
	w.one.take("by name", 0, byName)
	return func(w *world) {
		if n, err := w.other.ReleaseAll(bg, "together"); n != 2 || err != nil {
			w.t.Errorf("released were %d, %v", n, err)
		}
		if freed, err := w.other.Release(bg, []driver.Hold{{Key: byName, Owner: "by name"}}); err != nil || !freed[0] {
			w.t.Errorf("by its owner's name: %v, %v", freed, err)
		}
		for _, name := range []string{"together-1", "together-2", "together-3"} {
			w.other.free(w.other.take("next", 0, w.key(name)))
		}
		w.other.busy("together", w.key("together-0"))
		w.one.free(theirs)
	}
}

func takenByForce(w *world) func(*world) {
	key := w.key("forced")
	victim := hold(w.one.take("victim", 0, key))
	next := w.waits(w.other, 0, "next", key)
	w.other.force(driver.ForceRequest{Key: key, Owner: "victim", Token: victim.Token, Reason: "stuck"}, true)
	return func(w *world) {
		if s := w.other.state(key); s.Owner != "victim" || s.Waiting != 1 || len(next) > 0 {
			w.t.Errorf("before its holder lets go: %+v", s)
		}
		if ext, err := w.one.Extend(bg, time.Minute, []driver.Hold{victim}); err != nil || ext[0].Held || !ext[0].Revoked {
			w.t.Errorf("its holder extends it: %+v, %v", ext, err)
		}
		w.one.free(driver.Grant{Holds: []driver.Granted{{Hold: victim}}})
		w.other.free(granted(w.t, next, soonAfter, "the next one"))
		if a := w.one.audit(1); len(a) != 1 || a[0].Key != key || a[0].Reason != "stuck" {
			w.t.Errorf("the record is %+v", a)
		}
	}
}

func circleIsFound(w *world) func(*world) {
	a, b := w.key("circle-a"), w.key("circle-b")
	hasA, hasB := w.one.take("A", 0, a), w.other.take("B", 0, b)
	first := w.waits(w.one, 0, "A", b)
	return func(w *world) {
		w.one.queued(b, 1)
		_, err := w.other.Acquire(bg, driver.Request{Keys: []string{a}, Owner: "B", Wait: soonAfter})
		sameCircle(w.t, err, []driver.Wait{{Owner: "B", Key: a, Holder: "A"}, {Owner: "A", Key: b, Holder: "B"}})
		w.other.free(hasB)
		w.one.free(granted(w.t, first, soonAfter, "the other of the circle"))
		w.one.free(hasA)
	}
}

func givesUp(w *world) func(*world) {
	key := w.key("given-up")
	held := w.take(0, key)
	ctx, cancel := context.WithCancel(bg)
	gone := make(chan error, 1)
	go func() {
		_, err := w.other.Acquire(ctx, driver.Request{Keys: []string{key}, Owner: "gone", Wait: 2 * time.Minute})
		gone <- err
	}()
	w.one.queued(key, 1)
	next := w.waits(w.other, 1, "next", key)
	return func(w *world) {
		w.one.queued(key, 2)
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			w.t.Errorf("who gave up got %v", err)
		}
		w.one.queued(key, 1)
		w.one.busy("you", key)
		w.giveBack(held)
		w.other.free(granted(w.t, next, soonAfter, "the one behind it"))
		w.free(key)
	}
}

// The lease of the job is shorter than the server is gone.
func leaseEndsFirst(w *world) func(*world) {
	key := w.key("lease")
	service := serviceOf(w.t, w.cfg)
	runs, ended := make(chan struct{}), make(chan time.Time, 1)
	result := make(chan error, 1)
	go func() {
		result <- service.Execute(bg, locking.Keys(key), func(ctx context.Context) error {
			close(runs)
			<-ctx.Done()
			ended <- time.Now()
			return nil
		}, locking.Expire(time.Second))
	}()
	<-runs
	next := w.other.ask(driver.Request{Keys: []string{key}, Owner: "next", TTL: time.Minute, Wait: 2 * time.Minute})
	w.other.queued(key, 1)
	return func(w *world) {
		o := asked(w.t, next, 20*time.Second, "the next one")
		if o.err != nil {
			w.t.Fatal(o.err)
		}
		if err := <-result; !errors.Is(err, locking.ErrLockLost) {
			w.t.Errorf("the job's end: %v", err)
		}
		if at := <-ended; at.After(o.at) {
			w.t.Errorf("its context ended %s after another had the key", at.Sub(o.at))
		}
	}
}

func deadWaiter(w *world) func(*world) {
	held := w.take(0, "k") // that is the key of the process which is to die
	victim := startProcess(w.t, w.server, "wait")
	w.one.queued("k", 1)
	next := w.waits(w.other, 1, "next", "k")
	victim.kill()
	return func(w *world) {
		began := time.Now()
		w.giveBack(held)
		o := asked(w.t, next, 20*time.Second, "the one behind it")
		if o.err != nil {
			w.t.Fatal(o.err)
		}
		within(w.t, "the lock behind a dead waiter", o.at.Sub(began), liveness)
		w.other.free(o.grant)
	}
}

func deadHolder(w *world) func(*world) {
	const lease = 12 * time.Second // longer than what befalls the servers takes
	key := w.key("dead")
	w.one.take("dead", lease, key) // nobody renews it
	lapses := w.one.lapses(key)
	next := w.waits(w.other, 0, "next", key)
	return func(w *world) {
		began := time.Now()
		o := asked(w.t, next, 2*lease, "the next one")
		if o.err != nil {
			w.t.Fatal(o.err)
		}
		if o.at.Before(lapses.Add(-time.Millisecond)) {
			w.t.Errorf("the next one had it %s before it has lapsed", lapses.Sub(o.at))
		}
		if lapses.Before(began) { // what befell the servers took longer
			lapses = began
		}
		within(w.t, "after the lease's end", o.at.Sub(lapses), tick) // if not by its own timer
		w.other.free(o.grant)
	}
}
