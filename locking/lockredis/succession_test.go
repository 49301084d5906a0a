package lockredis_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// successionRig is a rig whose process hands locks on by itself for as long as a test needs.
func successionRig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	r.HandsOn(time.Minute, time.Minute)
	return r
}

// wiredSuccessionRig is one whose provider is behind a wire.
func wiredSuccessionRig(t *testing.T) (*rig, *wire) {
	t.Helper()
	r, w := newWiredRig(t)
	r.HandsOn(time.Minute, time.Minute)
	return r, w
}

// follow asks for k, and returns when the request is in the queue, and its process knows.
func (r *rig) follow(owner string) <-chan outcome {
	r.t.Helper()
	return r.followWith(driver.Request{Keys: []string{"k"}, Owner: owner, Wait: time.Minute})
}

func (r *rig) followWith(req driver.Request) <-chan outcome {
	r.t.Helper()
	before, known := r.redis.ZCard(bg, queueName("k")).Val(), r.Waiting()
	got := r.ask(req)
	r.inLine("k", before+1)
	r.knowsOf(known + 1)
	return got
}

// knowsOf returns when the process knows of so many requests that wait.
func (r *rig) knowsOf(waiting int64) {
	r.t.Helper()
	redistest.Eventually(r.t, 10*time.Second, func() string {
		if n := r.Waiting(); n != waiting {
			return fmt.Sprintf("the process knows of %d that wait", n)
		}
		return ""
	})
}

// succession has a line of anonymous requests of this process formed for k. It returns the
// grant of the first, which names the others, and how they end.
func (r *rig) succession(n int) (first driver.Grant, others []<-chan outcome) {
	r.t.Helper()
	return r.successionOf(slices.Repeat([]string{"*"}, n)...)
}

func (r *rig) successionOf(owners ...string) (first driver.Grant, others []<-chan outcome) {
	r.t.Helper()
	g := r.take("*", 0, "k")
	brief := r.follow("*") // has it for a moment: only such a hold is handed on
	for _, owner := range owners {
		others = append(others, r.follow(owner))
	}
	first = r.passes(r.passes(g, brief), others[0])
	return first, others[1:]
}

// passes frees what one has, and returns what the next one then gets.
func (r *rig) passes(g driver.Grant, next <-chan outcome) driver.Grant {
	r.t.Helper()
	r.free(g)
	return granted(r.t, next, 5*time.Second, "the next")
}

// hold is the only hold of a grant.
func hold(g driver.Grant) driver.Hold { return g.Holds[0].Hold }

// nobodyHas says that no lock, no waiter and no record is left of k.
func (r *rig) nobodyHas() {
	r.t.Helper()
	redistest.Eventually(r.t, 5*time.Second, func() string {
		s := r.state("k")
		if waiters := r.redis.HLen(bg, hubName("w")).Val(); s.Held || s.Waiting > 0 || waiters > 0 {
			return fmt.Sprintf("%+v, %d waiters", s, waiters)
		}
		return ""
	})
	for _, key := range r.keys() {
		if strings.HasSuffix(key, "}:h") || strings.Contains(key, "}:q:") {
			r.t.Errorf("%s is left: %s", key, content(bg, r.redis, key))
		}
	}
}

func (r *rig) handsOnNothing() {
	r.t.Helper()
	if open, closed := r.Successions(); open+closed != 0 {
		r.t.Errorf("%d locks are handed on here, and %d were", open, closed)
	}
}

// stopsHandingOn returns when the process has learnt that what it hands on is not its own.
func (r *rig) stopsHandingOn(bound time.Duration) {
	r.t.Helper()
	redistest.Eventually(r.t, bound, func() string {
		if open, _ := r.Successions(); open > 0 {
			return "the lock is handed on still"
		}
		return ""
	})
}

func TestALineOfOneProcessIsServedInOrderWithoutACallAndWithRisingTokens(t *testing.T) {
	t.Parallel()
	r := successionRig(t)
	// A clock that was set back: tokens are then just one more than the last.
	r.redis.Set(bg, hubName("t"), fmt.Sprintf("%016d", time.Now().Add(time.Hour).UnixMicro()), 0)
	r.lineInOrder()
}

// lineInOrder says that a line is served in order, without a call and with rising tokens.
func (r *rig) lineInOrder() {
	r.t.Helper()
	owners := []string{"*", "execute:1", "*", "execute:2", "execute:3"}
	g, others := r.successionOf(owners...)
	before := r.calls()
	for i, got := range others {
		last := hold(g)
		g = r.passes(g, got)
		if h := g.Holds[0]; h.Owner != owners[i+1] || h.Token <= last.Token || h.Key != "k" || !h.Offer || h.Until.IsZero() || h.Joined {
			r.t.Errorf("number %d has %+v, after %+v", i+1, h, last)
		}
		for _, later := range others[i+1:] {
			if len(later) > 0 {
				r.t.Fatalf("another was served together with number %d", i+1)
			}
		}
		r.busy("*", "k")
		before++ // the call of busy
	}
	if calls := r.calls() - before; calls != 0 {
		r.t.Errorf("the line made %d calls", calls)
	}
	r.free(g)
	r.nobodyHas()
	if next := r.take("*", 0, "k"); hold(next).Token <= hold(g).Token {
		r.t.Errorf("token %d after %d", hold(next).Token, hold(g).Token)
	}
}

func TestALineEndsWhereAnotherProcessComesNext(t *testing.T) {
	t.Parallel()
	r := successionRig(t)
	other := r.another()
	g := r.take("*", 0, "k")
	brief := r.follow("*")
	a, b := r.follow("*"), r.follow("*")
	theirs := other.follow("*")
	c := r.follow("*")
	r.free(g)
	for _, got := range []<-chan outcome{brief, a, b, theirs, c} {
		if len(a)+len(b)+len(theirs)+len(c) > 1 {
			t.Fatal("two were served at once")
		}
		g = granted(t, got, 5*time.Second, "the next")
		if got == theirs {
			other.free(g)
		} else {
			r.free(g)
		}
	}
	r.nobodyHas()
}

// What others see of a lock is not to be late for long.
func TestALineIsServedByTheServerAfterAWhile(t *testing.T) {
	t.Parallel()
	r := successionRig(t)
	r.HandsOn(0, time.Minute)
	g, others := r.succession(3)
	for _, got := range others {
		before := r.calls()
		g = r.passes(g, got)
		if s := r.redis.Get(bg, "medusa_lock:k").Val(); s != "*" || r.calls() == before {
			t.Errorf("the lock is %q, %d calls", s, r.calls()-before)
		}
	}
	r.free(g)
	r.nobodyHas()
}

func TestAGrantNamesNobodyWhereLocksAreHeldForLonger(t *testing.T) {
	t.Parallel()
	r := successionRig(t)
	r.HandsOn(time.Minute, 0)
	g, others := r.succession(2)
	r.handsOnNothing()
	r.free(r.passes(g, others[0]))
	r.nobodyHas()
}

// Their holds would be looked for by their owners' names, or end before they begin.
func TestAGrantNamesOnlyThoseThatMakeOneRequestForOneKey(t *testing.T) {
	t.Parallel()
	for name, req := range map[string]driver.Request{
		"a named owner":       {Keys: []string{"k"}, Owner: "me"},
		"several keys":        {Keys: []string{"k", "l"}, Owner: "*"},
		"a short expiry":      {Keys: []string{"k"}, Owner: "*", TTL: time.Second},
		"in others' interest": {Keys: []string{"k"}, Owner: "*", Enclosing: []string{"outer"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := successionRig(t)
			g := r.take("*", 0, "k")
			brief, first := r.follow("*"), r.follow("*")
			req.Wait = time.Minute
			second := r.followWith(req)
			g = r.passes(r.passes(g, brief), first)
			r.handsOnNothing()
			r.free(r.passes(g, second))
			r.nobodyHas()
		})
	}
}

func TestOneOfALineThatHasGivenUpIsPassedOver(t *testing.T) {
	t.Parallel()
	r := successionRig(t)
	ctx, cancel := context.WithCancel(bg)
	g := r.take("*", 0, "k")
	brief, first := r.follow("*"), r.follow("*")
	gone := make(chan error, 1)
	go func() {
		_, err := r.Acquire(ctx, driver.Request{Keys: []string{"k"}, Owner: "*", Wait: time.Minute})
		gone <- err
	}()
	r.knowsOf(3)
	last := r.follow("*")
	g = r.passes(r.passes(g, brief), first)
	cancel()
	if err := <-gone; err == nil {
		t.Fatal("it was granted what the first has")
	}
	r.inLine("k", 1)
	before := r.calls()
	g = r.passes(g, last)
	if calls := r.calls() - before; calls != 0 {
		t.Errorf("%d calls", calls)
	}
	r.free(g)
	r.nobodyHas()
}

func TestNobodyOfALineFreesOrExtendsWhatTheNextHas(t *testing.T) {
	t.Parallel()
	r := successionRig(t)
	first, others := r.succession(3)
	second := r.passes(first, others[0])
	for _, late := range [][]driver.Hold{{hold(first)}, {hold(first), {Key: "l", Owner: "*", Token: 7}}} {
		if freed, err := r.Release(bg, late); err != nil || freed[0] {
			t.Fatalf("the first freed it again: %v, %v", freed, err)
		}
		if ext, err := r.Extend(bg, time.Minute, late); err != nil || ext[0].Held {
			t.Fatalf("the first extended it: %+v, %v", ext, err)
		}
	}
	if ext, err := r.Extend(bg, time.Minute, []driver.Hold{hold(second)}); err != nil || !ext[0].Held {
		t.Fatalf("the second does not have it any more: %+v, %v", ext, err)
	}
	r.free(r.passes(second, others[1]))
	r.nobodyHas()
}

func TestOneOfALineThatIsExtendedIsTheHolderToEverybody(t *testing.T) {
	t.Parallel()
	r := successionRig(t)
	other := r.another()
	first, others := r.successionOf("execute:1", "execute:2", "execute:3")
	second := r.passes(first, others[0])
	if ext, err := r.Extend(bg, time.Minute, []driver.Hold{hold(second)}); err != nil || !ext[0].Held || time.Until(ext[0].Until) < 50*time.Second {
		t.Fatalf("extended: %+v, %v", ext, err)
	}
	s := other.state("k")
	if s.Owner != "execute:2" || s.Token != hold(second).Token || s.Offer || s.Waiting != 1 || s.Waiters[0].Owner != "execute:3" {
		t.Errorf("another process sees %+v", s)
	}
	r.handsOnNothing()
	third := r.passes(second, others[1])
	if hold(third).Token <= hold(second).Token {
		t.Errorf("token %d after %d", hold(third).Token, hold(second).Token)
	}
	r.free(third)
	r.nobodyHas()
}

func TestOthersSeeWhoOfALineHasTheLock(t *testing.T) {
	t.Parallel()
	r := successionRig(t)
	other := r.another()
	first, others := r.successionOf("execute:1", "execute:2", "execute:3")
	second := r.passes(first, others[0])
	redistest.Eventually(t, 5*time.Second, func() string { // who looks waits 50 ms for this process to say it
		s := other.state("k")
		if s.Owner != "execute:2" || s.Token != hold(second).Token || s.Waiting != 1 || s.Waiters[0].Owner != "execute:3" {
			return fmt.Sprintf("another process sees %+v", s)
		}
		return ""
	})
	r.free(r.passes(second, others[1]))
	r.nobodyHas()
}

func TestWhoOfALineHasHadItsTurnIsNotTheHolderThatAForcedReleaseMeans(t *testing.T) {
	t.Parallel()
	for _, now := range []bool{false, true} {
		t.Run(fmt.Sprintf("at once: %t", now), func(t *testing.T) {
			t.Parallel()
			bystander := newRig(t)
			r, events := told(t, bystander)
			r.HandsOn(time.Minute, time.Minute)
			first, others := r.succession(4)
			second := r.passes(first, others[0])
			third := r.passes(second, others[1])
			theirs := bystander.follow("*")
			bystander.force(driver.ForceRequest{Key: "k", Owner: "*", Token: hold(first).Token, Reason: "stuck", Now: now}, false)
			bystander.force(driver.ForceRequest{Key: "k", Owner: "*", Token: hold(third).Token, Reason: "stuck", Now: now}, true)
			if e := next(t, events); e.Revoked != hold(third) || e.Reason != "stuck" {
				t.Fatalf("told of %+v, %+v has it", e, hold(third))
			}
			if freed, err := r.Release(bg, []driver.Hold{hold(third)}); err != nil || freed[0] == now {
				t.Errorf("the release: %v, %v", freed, err)
			}
			r.free(granted(t, others[2], 1500*time.Millisecond, "the fourth"))
			bystander.free(granted(t, theirs, time.Second, "the other process's"))
			bystander.nobodyHas()
		})
	}
}

// The string on the server is still the first one's.
func TestWhoNamesNoTokenFreesOfALineWhatItHasNow(t *testing.T) {
	t.Parallel()
	r := successionRig(t)
	other := r.another()
	first, others := r.successionOf("*", "execute:2", "*")
	second := r.passes(first, others[0])
	if freed, err := other.Release(bg, []driver.Hold{{Key: "k", Owner: "*"}}); err != nil || freed[0] {
		t.Errorf("an anonymous release freed what execute:2 has: %v, %v", freed, err)
	}
	r.passes(second, others[1])
	if freed, err := other.Release(bg, []driver.Hold{{Key: "k", Owner: "*"}}); err != nil || !freed[0] {
		t.Errorf("an anonymous release did not free what an anonymous owner has: %v, %v", freed, err)
	}
	r.nobodyHas()
}

func TestReleaseAllFindsWhoOfALineHasTheLock(t *testing.T) {
	t.Parallel()
	r := successionRig(t)
	first, others := r.successionOf("execute:1", "execute:2")
	r.passes(first, others[0])
	other := r.another()
	for owner, want := range map[string]int{"execute:1": 0, "execute:2": 1} {
		if n, err := other.ReleaseAll(bg, owner); n != want || err != nil {
			t.Errorf("%d were freed of %s, %d were to be (%v)", n, owner, want, err)
		}
	}
	r.nobodyHas()
}

// Its process is stopped, say: the offer lapses.
func TestWhatALineDoesNotTellOfIsKnownWhenItHasLapsed(t *testing.T) {
	t.Parallel()
	r, w := wiredSuccessionRig(t)
	other := r.another()
	first, _ := r.succession(2)
	w.sever()
	began := time.Now()
	other.force(driver.ForceRequest{Key: "k", Owner: "*", Token: hold(first).Token, Reason: "stuck", Now: true}, false)
	if took := time.Since(began); took < time.Second {
		t.Errorf("it was answered after %s, before the offer had lapsed", took)
	}
	w.mend()
}

// The owner of a job makes one request. One that makes another must not be given what it
// had.
func TestAnOwnerWhoseTurnOfALineIsOverDoesNotJoinIt(t *testing.T) {
	t.Parallel()
	r := successionRig(t)
	first, others := r.successionOf("execute:1", "execute:2")
	second := r.passes(first, others[0])
	r.busy("execute:1", "k")
	r.free(second)
	r.nobodyHas()
}

// The longest line there is, and those behind it.
func TestALineIsBounded(t *testing.T) {
	t.Parallel()
	r := successionRig(t)
	const n = 40
	g, others := r.succession(n)
	tokens := []driver.Token{hold(g).Token}
	calls := r.calls()
	for _, got := range others {
		g = r.passes(g, got)
		tokens = append(tokens, hold(g).Token)
	}
	if calls = r.calls() - calls; calls != 1 {
		t.Errorf("%d calls for %d", calls, n)
	}
	if !slices.IsSorted(tokens) || len(slices.Compact(tokens)) != n {
		t.Errorf("the tokens are %d", tokens)
	}
	r.free(g)
	r.nobodyHas()
}

// A compensation goes before all that is not promised yet.
func TestARequestOfHigherRankComesRightBehindALine(t *testing.T) {
	t.Parallel()
	r := successionRig(t)
	g := r.take("*", 0, "k")
	brief, first, second := r.follow("*"), r.follow("*"), r.follow("*")
	between := r.another().follow("*")
	g = r.passes(r.passes(g, brief), first)
	urgent := r.followWith(driver.Request{Keys: []string{"k"}, Owner: "me", Rank: driver.Compensation, Wait: time.Minute})
	g = r.passes(r.passes(g, second), urgent)
	if len(between) > 0 {
		t.Error("another came before it")
	}
	r.passes(g, between)
}
