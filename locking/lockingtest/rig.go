package lockingtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// rig is what a case works with: a started provider, and a few words to say what
// is expected of it. Its methods that end the test are for the test's goroutine.
type rig struct {
	testing.TB

	subject  Subject
	p        *noted
	ctx      context.Context
	patience time.Duration
	ledger   ledger
}

// caseBound is how many times its patience a case may take altogether.
const caseBound = 6

func newRig(t testing.TB, subject Subject, patience time.Duration) *rig {
	t.Helper()
	r := &rig{TB: t, subject: subject, patience: patience}
	r.haveTime()
	r.Cleanup(r.wantNothingLeft)
	r.p = r.another()
	r.Cleanup(r.giveAllBack)
	return r
}

// haveTime gives the case all its time from now on: one that does the same very often has
// it each time.
func (r *rig) haveTime() {
	ctx, cancel := context.WithTimeout(context.Background(), caseBound*r.patience)
	r.Cleanup(cancel)
	r.ctx = ctx
}

// another returns one more started provider. Its locks are those of the first
// one where the subject is shared.
func (r *rig) another() *noted {
	r.Helper()
	p := &noted{Provider: r.subject.New(r.TB), ledger: &r.ledger}
	env := driver.Env{ID: "test", Logger: slog.New(slog.DiscardHandler), Notify: p.news.hear}
	if err := p.Start(r.ctx, env); err != nil {
		r.Fatalf("Start: %v", err)
	}
	r.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), r.patience)
		defer cancel()
		_ = p.Close(ctx) // the cases of its life look at the error
	})
	return p
}

// stranger is an owner whom no case uses otherwise.
const stranger = "stranger"

// ask is a request that does not wait and does not expire.
func ask(owner string, keys ...string) driver.Request {
	return driver.Request{Keys: keys, Owner: owner, Wait: driver.NoWait}
}

func lasting(req driver.Request, ttl time.Duration) driver.Request {
	req.TTL = ttl
	return req
}

func waiting(req driver.Request, wait time.Duration) driver.Request {
	req.Wait = wait
	return req
}

func generation(req driver.Request, epoch, attempt uint64) driver.Request {
	req.Generation = driver.Generation{Epoch: epoch, Attempt: attempt}
	return req
}

// take expects the request to be granted.
func (r *rig) take(req driver.Request) []driver.Granted {
	r.Helper()
	return r.takeAt(r.p, req)
}

func (r *rig) takeAt(p driver.Provider, req driver.Request) []driver.Granted {
	r.Helper()
	grant, err := p.Acquire(r.ctx, req)
	if err != nil {
		r.Fatalf("Acquire(%s): %v, want a grant", describe(req), err)
	}
	if len(grant.Holds) != len(req.Keys) {
		r.Fatalf("Acquire(%s): %d holds, want %d", describe(req), len(grant.Holds), len(req.Keys))
	}
	return grant.Holds
}

// takeOne expects the request for one key to be granted.
func (r *rig) takeOne(req driver.Request) driver.Granted {
	r.Helper()
	return r.take(req)[0]
}

// refuse expects the request not to be granted, for the given reason.
func (r *rig) refuse(req driver.Request, want error) {
	r.Helper()
	grant, err := r.p.Acquire(r.ctx, req)
	if !errors.Is(err, want) {
		r.Fatalf("Acquire(%s): %v, want %v", describe(req), outcome(grant, err), want)
	}
}

// free releases holds and returns the answers.
func (r *rig) free(holds ...driver.Hold) []bool {
	r.Helper()
	return r.freeAt(r.p, holds...)
}

func (r *rig) freeAt(p driver.Provider, holds ...driver.Hold) []bool {
	r.Helper()
	freed, err := p.Release(r.ctx, holds)
	if err != nil {
		r.Fatalf("Release: %v", err)
	}
	if len(freed) != len(holds) {
		r.Fatalf("Release of %d holds: %d answers", len(holds), len(freed))
	}
	return freed
}

// wantFreed releases one hold and expects the given answer.
func (r *rig) wantFreed(want bool, h driver.Hold) {
	r.Helper()
	if got := r.free(h)[0]; got != want {
		r.Errorf("Release(%q of %q, token %d): %t, want %t", h.Key, h.Owner, h.Token, got, want)
	}
}

// extend gives one hold more time.
func (r *rig) extend(ttl time.Duration, h driver.Hold) driver.Extension {
	r.Helper()
	answers, err := r.p.Extend(r.ctx, ttl, []driver.Hold{h})
	if err != nil || len(answers) != 1 {
		r.Fatalf("Extend(%q of %q): %v, %v, want one answer", h.Key, h.Owner, answers, err)
	}
	if answers[0].Err != nil {
		r.Fatalf("Extend(%q of %q) has no answer for it: %v", h.Key, h.Owner, answers[0].Err)
	}
	return answers[0]
}

// probe asks as a stranger who has a key: the empty string is nobody.
func (r *rig) probe(p driver.Provider, key string) (holder string) {
	r.Helper()
	grant, err := p.Acquire(r.ctx, ask(stranger, key))
	var busy *driver.BusyError
	switch {
	case err == nil && len(grant.Holds) == 1:
		if !r.freeAt(p, grant.Holds[0].Hold)[0] {
			r.Fatalf("the probe's own hold on %q was not freed", key)
		}
		return ""
	case errors.As(err, &busy) && busy.Holder != "":
		return busy.Holder
	}
	r.Fatalf("probe of %q: %s, want a grant or its holder", key, outcome(grant, err))
	return ""
}

// wantFree expects that anybody could have the keys at once.
func (r *rig) wantFree(keys ...string) {
	r.Helper()
	r.wantHeld("", keys...)
}

// wantHeld expects that the keys are the owner's.
func (r *rig) wantHeld(owner string, keys ...string) {
	r.Helper()
	for _, key := range keys {
		if got := r.probe(r.p, key); got != owner {
			r.Errorf("the holder of %.40q is %q, want %q", key, got, owner)
		}
	}
}

// wantHeldUntil looks at a key again and again until the moment has passed, and
// expects it to be the owner's each time.
func (r *rig) wantHeldUntil(moment time.Time, owner, key string) {
	r.Helper()
	for last := false; !last; time.Sleep(pollInterval) {
		last = time.Now().After(moment)
		if got := r.probe(r.p, key); got != owner {
			r.Fatalf("%s before it was to be looked at last, the holder of %q is %q, want %q",
				time.Until(moment), key, got, owner)
		}
	}
}

// wantLapse expects a key to become free by itself.
func (r *rig) wantLapse(key string) lapse {
	r.Helper()
	var seen lapse
	Eventually(r.TB, r.patience, fmt.Sprintf("the lock on %q lapses", key), func() (bool, string) {
		sent := time.Now()
		holder := r.probe(r.p, key)
		if holder != "" {
			seen.held = sent
			return false, fmt.Sprintf("held by %q", holder)
		}
		seen.free = time.Now()
		return true, ""
	})
	return seen
}

// lapse is what was seen of the end of a lock: it was surely there at one moment,
// and surely gone at the other.
type lapse struct {
	held time.Time // zero when it was not seen
	free time.Time
}

func describe(req driver.Request) string {
	return fmt.Sprintf("%.80q for %q, generation %v, ttl %s, wait %s", req.Keys, req.Owner, req.Generation, req.TTL, req.Wait)
}

func outcome(grant driver.Grant, err error) string {
	if err != nil {
		return fmt.Sprintf("error %v", err)
	}
	holds := make([]string, len(grant.Holds))
	for i, h := range grant.Holds {
		holds[i] = fmt.Sprintf("%.40q for %.40q with token %d", h.Key, h.Owner, h.Token)
	}
	return "granted " + strings.Join(holds, ", ")
}
