package lockredis_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// force expects the given answer.
func (r *rig) force(req driver.ForceRequest, want bool) {
	r.t.Helper()
	if got, err := r.ForceRelease(bg, req); got != want || err != nil {
		r.t.Fatalf("ForceRelease(%+v): %t, %v, want %t", req, got, err, want)
	}
}

func (r *rig) audit(limit int) []driver.AuditRecord {
	r.t.Helper()
	all, err := r.Audit(bg, limit)
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

func TestAForcedReleaseRevokesTheHoldAndKeepsTheKeyUntilItIsReleased(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.take("victim", 0, "k").Holds[0].Hold
	got := r.wait("next", 0, "k")
	r.force(driver.ForceRequest{Key: "k", Owner: "victim", Token: h.Token, Reason: "stuck"}, true)

	s := r.state("k")
	if !s.Revoked || s.Reason != "stuck" || s.Owner != "victim" || s.Token != h.Token || s.Waiting != 1 {
		t.Fatalf("got %+v", s)
	}
	if ext, err := r.Extend(bg, time.Minute, []driver.Hold{h}); err != nil || ext[0] != (driver.Extension{Revoked: true}) {
		t.Fatalf("it was extended: %+v, %v", ext, err)
	}
	if _, err := r.Acquire(bg, driver.Request{Keys: []string{"k"}, Owner: "victim", Wait: driver.NoWait}); !errors.Is(err, driver.ErrRevoked) {
		t.Fatalf("its owner asked for it again: %v", err)
	}
	r.busy("other", "k")
	if freed, err := r.Release(bg, []driver.Hold{h}); err != nil || !freed[0] {
		t.Fatalf("the release that confirms: %v, %v", freed, err)
	}
	if g := <-got; g.Holds == nil || g.Holds[0].Token <= h.Token {
		t.Fatalf("next has %+v after token %d", g, h.Token)
	}
}

func TestARevokedLockGoesOnWhenItsLeaseHasLapsed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.take("victim", 300*time.Millisecond, "k").Holds[0].Hold
	got := r.wait("next", 0, "k")
	r.force(driver.ForceRequest{Key: "k", Owner: "victim", Token: h.Token}, true)
	if g := <-got; g.Holds == nil {
		t.Fatal("next has nothing")
	}
}

func TestAnEmptyReasonRevokesToo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.take("victim", 0, "k").Holds[0].Hold
	r.force(driver.ForceRequest{Key: "k", Owner: "victim", Token: h.Token}, true)
	if s := r.state("k"); !s.Revoked || s.Reason != "" {
		t.Fatalf("got %+v", s)
	}
	if ext, err := r.Extend(bg, time.Minute, []driver.Hold{h}); err != nil || !ext[0].Revoked {
		t.Fatalf("got %+v, %v", ext, err)
	}
}

func TestNowHandsTheKeyOnAtOnceAndTheVictimCanDoNothingWithIt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.take("victim", 0, "k").Holds[0].Hold
	got := r.wait("next", 0, "k")
	r.force(driver.ForceRequest{Key: "k", Owner: "victim", Token: h.Token, Now: true}, true)
	if s := r.state("k"); s.Owner != "next" {
		t.Fatalf("after the call the key is %+v", s)
	}
	if g := <-got; g.Holds == nil || g.Holds[0].Token <= h.Token {
		t.Fatalf("next has %+v after token %d", g, h.Token)
	}
	if freed, err := r.Release(bg, []driver.Hold{h}); err != nil || freed[0] {
		t.Fatalf("the victim freed it: %v, %v", freed, err)
	}
	if ext, err := r.Extend(bg, time.Minute, []driver.Hold{h}); err != nil || ext[0].Held {
		t.Fatalf("the victim extended it: %+v, %v", ext, err)
	}
	if n, err := r.ReleaseAll(bg, "victim"); n != 0 || err != nil {
		t.Fatalf("the victim still had %d, %v", n, err)
	}
}

func TestARevokedLockIsTakenByNow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.take("victim", 0, "k").Holds[0].Hold
	got := r.wait("next", 0, "k")
	req := driver.ForceRequest{Key: "k", Owner: "victim", Token: h.Token, Reason: "first"}
	r.force(req, true)
	req.Reason = "again"
	r.force(req, true)
	if s := r.state("k"); s.Reason != "again" {
		t.Fatalf("got %+v", s)
	}
	req.Now, req.Reason = true, "now"
	r.force(req, true)
	if g := <-got; g.Holds == nil {
		t.Fatal("next has nothing")
	}
	r.force(req, false)
	if all := r.audit(10); len(all) != 3 {
		t.Fatalf("audited are %+v", all)
	}
}

func TestOnlyTheHolderThatIsNamedLosesAKey(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.take("victim", 0, "k").Holds[0].Hold
	r.redis.Set(bg, "medusa_lock:theirs", "cart-7", 0)
	for _, now := range []bool{false, true} {
		for _, req := range []driver.ForceRequest{
			{Key: "k", Owner: "other", Token: h.Token},
			{Key: "k", Owner: "", Token: h.Token},
			{Key: "k", Owner: "*", Token: h.Token},
			{Key: "k", Owner: "victim", Token: h.Token - 1},
			{Key: "k", Owner: "victim", Token: h.Token + 1},
			{Key: "k", Owner: "victim", Token: 1<<64 - 1},
			{Key: "k", Owner: "victim"},
			{Key: "free", Owner: "victim", Token: h.Token},
			{Key: "free", Owner: "victim"},
			{Key: "theirs", Owner: "cart-7", Token: h.Token},
			{Key: "theirs", Owner: "cart-8"},
		} {
			req.Now = now
			r.force(req, false)
		}
	}
	if s := r.state("k"); s.Revoked || s.Token != h.Token {
		t.Errorf("got %+v", s)
	}
	if v := r.redis.Get(bg, "medusa_lock:theirs").Val(); v != "cart-7" {
		t.Errorf("their lock is %q", v)
	}
	if all := r.audit(10); len(all) != 0 {
		t.Errorf("audited are %+v", all)
	}
}

func TestAForeignLockIsTakenOnlyByNow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.redis.Set(bg, "medusa_lock:k", "cart-7", 0)
	got := r.wait("next", 0, "k")
	req := driver.ForceRequest{Key: "k", Owner: "cart-7", Reason: "crashed"}
	if ok, err := r.ForceRelease(bg, req); ok || !errors.Is(err, driver.ErrForeign) {
		t.Fatalf("got %t, %v", ok, err)
	}
	if v := r.redis.Get(bg, "medusa_lock:k").Val(); v != "cart-7" {
		t.Fatalf("their lock is %q", v)
	}
	req.Now = true
	r.force(req, true)
	if g := <-got; g.Holds == nil {
		t.Fatal("next has nothing")
	}
	if all := r.audit(10); len(all) != 1 || all[0].ForceRequest != req {
		t.Fatalf("audited are %+v", all)
	}
}

func TestTheVictimsProcessIsToldAndNoOther(t *testing.T) {
	t.Parallel()
	looker := newRig(t)
	r, events := told(t, looker)
	_, others := told(t, looker)
	key, owner, reason := "k:\x00\xff{}", "\xfe:12:owner", "3:why\x00\xff"
	g, err := r.Acquire(bg, driver.Request{
		Keys: []string{key}, Owner: owner, Generation: driver.Generation{Epoch: 7, Attempt: 9}, Wait: driver.NoWait,
	})
	if err != nil {
		t.Fatal(err)
	}
	req := driver.ForceRequest{Key: key, Owner: owner, Token: g.Holds[0].Token, Reason: reason}
	want := driver.Event{Revoked: g.Holds[0].Hold, Reason: reason}
	for _, req.Now = range []bool{false, true} {
		looker.force(req, true)
		if e := next(t, events); e.Err != nil || e.Ticket != "" || e.Revoked != want.Revoked || e.Reason != want.Reason {
			t.Fatalf("told was %+v, want %+v", e, want)
		}
	}
	if len(others) != 0 {
		t.Fatalf("another process was told %+v", <-others)
	}
}

func TestAHolderThatWasHandedTheKeyByAReleaseIsToldAsWell(t *testing.T) {
	t.Parallel()
	looker := newRig(t)
	first := looker.take("first", 0, "k").Holds[0].Hold
	r, events := told(t, looker)
	got := r.wait("victim", time.Minute, "k")
	if _, err := looker.Release(bg, []driver.Hold{first}); err != nil {
		t.Fatal(err)
	}
	h := (<-got).Holds[0].Hold
	looker.force(driver.ForceRequest{Key: "k", Owner: "victim", Token: h.Token, Reason: "why"}, true)
	if e := next(t, events); e.Revoked != h || e.Reason != "why" {
		t.Fatalf("told was %+v, want %+v", e, h)
	}
}

// A ticket of the same owner would get the key back by its own place in the queue.
func TestARequestOfTheVictimsOwnerEndsWhenTheKeyIsRevoked(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("holder", 0, "other")
	h := r.take("victim", 0, "k").Holds[0].Hold
	got := make(chan error)
	go func() {
		_, err := r.Acquire(bg, driver.Request{Keys: []string{"k", "other"}, Owner: "victim", Wait: 30 * time.Second})
		got <- err
	}()
	redistest.Eventually(t, 5*time.Second, func() string {
		if n := r.state("other").Waiting; n != 1 {
			return fmt.Sprintf("%d wait", n)
		}
		return ""
	})
	r.force(driver.ForceRequest{Key: "k", Owner: "victim", Token: h.Token}, true)
	if s := r.state("other"); s.Waiting != 0 {
		t.Errorf("after the call it still waits: %+v", s.Waiters)
	}
	if err := <-got; !errors.Is(err, driver.ErrRevoked) {
		t.Fatalf("got %v", err)
	}
}

func TestATicketWhoseOfferIsTakenByForceEndsRevoked(t *testing.T) {
	t.Parallel()
	for _, now := range []bool{false, true} {
		looker := newRig(t)
		h := looker.take("holder", 0, "k").Holds[0].Hold
		r, events := told(t, looker)
		ticket := r.queue("t", driver.Request{Keys: []string{"k"}, Owner: "victim"})
		if _, err := looker.Release(bg, []driver.Hold{h}); err != nil {
			t.Fatal(err)
		}
		offered := next(t, events)
		if offered.Ticket != "t" || len(offered.Grant.Holds) != 1 {
			t.Fatalf("told was %+v", offered)
		}
		looker.force(driver.ForceRequest{Key: "k", Owner: "victim", Token: offered.Grant.Holds[0].Token, Now: now}, true)
		if e := next(t, events); e.Revoked != offered.Grant.Holds[0].Hold {
			t.Fatalf("told was %+v", e)
		}
		if e := next(t, events); e.Ticket != "t" || !errors.Is(e.Err, driver.ErrRevoked) {
			t.Fatalf("told was %+v", e)
		}
		if _, err := r.Claim(bg, ticket); !errors.Is(err, driver.ErrNoOffer) && !errors.Is(err, driver.ErrRevoked) {
			t.Fatalf("the claim: %v", err)
		}
		if s := looker.state("k"); s.Waiting != 0 || s.Held == now {
			t.Fatalf("now %t: %+v", now, s)
		}
		// An offer that is not taken at once lapses soon.
		redistest.Eventually(t, 10*time.Second, func() string {
			if s := looker.state("k"); s.Held {
				return fmt.Sprintf("%+v", s)
			}
			return ""
		})
	}
}

func TestAuditTellsTheNewestFirst(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var want []driver.ForceRequest
	before := r.redis.Time(bg).Val()
	for i := range 5 {
		h := r.take(fmt.Sprintf("owner:%d\xff", i), 0, fmt.Sprintf("k%d\x00", i)).Holds[0].Hold
		req := driver.ForceRequest{Key: h.Key, Owner: h.Owner, Token: h.Token, Reason: strings.Repeat("\x00\xff:", i), Now: i%2 == 1}
		r.force(req, true)
		want = append(want, req)
	}
	slices.Reverse(want)
	after := r.redis.Time(bg).Val()
	for limit, n := range map[int]int{-1: 0, 0: 0, 1: 1, 3: 3, 5: 5, 1 << 40: 5} {
		got := r.audit(limit)
		if len(got) != n {
			t.Fatalf("with limit %d there are %d", limit, len(got))
		}
		for i, a := range got {
			if a.ForceRequest != want[i] {
				t.Errorf("in place %d is %+v, want %+v", i, a.ForceRequest, want[i])
			}
			if a.At.Before(before) || a.At.After(after) {
				t.Errorf("at %s, between %s and %s", a.At, before, after)
			}
			before := a.At
			if i > 0 && got[i-1].At.Before(before) {
				t.Errorf("in place %d is a newer one", i)
			}
		}
	}
}

func TestAuditKeepsTheNewestThousand(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	keys := make([]string, 1003)
	for i := range keys {
		keys[i] = fmt.Sprintf("k%04d", i)
	}
	for _, h := range r.take("victim", 0, keys...).Holds {
		r.force(driver.ForceRequest{Key: h.Key, Owner: h.Owner, Token: h.Token, Now: true}, true)
	}
	all := r.audit(2000)
	if len(all) != 1000 || all[0].Key != "k1002" || all[999].Key != "k0003" {
		t.Fatalf("there are %d, from %q to %q", len(all), all[0].Key, all[len(all)-1].Key)
	}
}

func TestOnAClusterAForcedReleaseIsAuditedInOrderOverAllSlots(t *testing.T) {
	t.Parallel()
	r := clusterRig(t)
	var want []string
	for i := range 10 {
		h := r.take("victim", 0, fmt.Sprint("k", i)).Holds[0].Hold
		r.force(driver.ForceRequest{Key: h.Key, Owner: h.Owner, Token: h.Token, Now: true}, true)
		want = append(want, h.Key)
	}
	slices.Reverse(want)
	for i, a := range r.audit(7) {
		if a.Key != want[i] {
			t.Errorf("in place %d is %q, want %q", i, a.Key, want[i])
		}
	}
	if n := len(r.audit(7)); n != 7 {
		t.Errorf("there are %d", n)
	}
}

func TestALostReplyOfAForcedReleaseIsAnsweredAsDoneAndAuditedOnce(t *testing.T) {
	t.Parallel()
	for _, now := range []bool{false, true} {
		for _, foreign := range []bool{false, true} {
			if foreign && !now {
				continue // it is refused
			}
			r, proxy := newProxyRig(t)
			req := driver.ForceRequest{Key: "k", Owner: "victim", Reason: "why", Now: now}
			if foreign {
				r.redis.Set(bg, "medusa_lock:k", "victim", 0)
			} else {
				// In another process, which is told past the proxy.
				victim, _ := told(t, r)
				req.Token = victim.take("victim", 0, "k").Holds[0].Token
			}
			// The script is known to the server, so that one command is one answer.
			r.force(driver.ForceRequest{Key: "warm", Owner: "nobody"}, false)
			proxy.dropReplies(1)
			r.force(req, true)
			proxy.dropped(t)
			if all := r.audit(10); len(all) != 1 || all[0].ForceRequest != req {
				t.Errorf("now %t, foreign %t: audited are %+v", now, foreign, all)
			}
			// Another call is another one.
			if !now {
				r.force(req, true)
				if all := r.audit(10); len(all) != 2 {
					t.Errorf("audited are %+v", all)
				}
			} else {
				r.force(req, false)
			}
		}
	}
}

func TestAForcedReleaseThatNeverGetsAnAnswerIsAnError(t *testing.T) {
	t.Parallel()
	r, proxy := newProxyRig(t)
	h := r.take("victim", 0, "k").Holds[0].Hold
	proxy.dropReplies(8) // each try, and the dials between
	if ok, err := r.ForceRelease(bg, driver.ForceRequest{Key: "k", Owner: "victim", Token: h.Token}); ok || err == nil {
		t.Fatalf("got %t, %v", ok, err)
	}
	proxy.dropReplies(0)
}

func TestNothingButTheAuditIsLeftOfAForcedRelease(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.take("victim", 0, "k").Holds[0].Hold
	r.force(driver.ForceRequest{Key: "k", Owner: "victim", Token: h.Token, Now: true}, true)
	for _, k := range r.keys() {
		if !strings.HasSuffix(k, "}:t") && !strings.HasSuffix(k, "}:a") {
			t.Errorf("%q is left", k)
		}
	}
}

func TestAClosedProviderTellsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if err := r.Close(bg); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Inspect(bg, "k", 1); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("Inspect: %v", err)
	}
	if _, err := r.List(bg, driver.ListRequest{}); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("List: %v", err)
	}
	if _, err := r.ForceRelease(bg, driver.ForceRequest{Key: "k"}); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("ForceRelease: %v", err)
	}
	if _, err := r.Audit(bg, 1); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("Audit: %v", err)
	}
}

// The first call has freed the key, and the same program takes it again before the
// second one comes.
func TestARepeatedForcedReleaseDoesNotTakeWhatWasTakenAgainByAForeignOwner(t *testing.T) {
	t.Parallel()
	r, proxy := newProxyRig(t)
	p, _, err := start(t, lockredis.Config{
		RedisURL:             "redis://" + proxy.listener.Addr().String(),
		RedisOptions:         func(o *redis.UniversalOptions) { o.PoolSize = 1 },
		DefaultRetryInterval: 300 * time.Millisecond,
		MaximumRetryInterval: 300 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	slow := &rig{p, t, r.server, r.redis}
	slow.force(driver.ForceRequest{Key: "warm", Owner: "nobody"}, false) // the server knows the script
	r.redis.Set(bg, "medusa_lock:k", "cart-7", 0)
	proxy.dropReplies(1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if ok, err := p.ForceRelease(bg, driver.ForceRequest{Key: "k", Owner: "cart-7", Now: true}); !ok || err != nil {
			t.Errorf("got %t, %v", ok, err)
		}
	}()
	redistest.Eventually(t, 5*time.Second, func() string {
		if r.redis.SetNX(bg, "medusa_lock:k", "cart-7", 0).Val() {
			return ""
		}
		return "the key is taken"
	})
	<-done
	proxy.dropped(t)
	if v := r.redis.Get(bg, "medusa_lock:k").Val(); v != "cart-7" {
		t.Fatalf("the second lock is %q", v)
	}
}
