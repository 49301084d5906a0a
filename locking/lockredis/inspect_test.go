package lockredis_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// configOf is what another process at the rig's server would have.
func configOf(r *rig) lockredis.Config { return lockredis.Config{RedisURL: r.server.URL()} }

// state inspects a key, with as many waiters as there may be.
func (r *rig) state(key string) driver.State {
	r.t.Helper()
	s, err := r.Inspect(bg, key, 100)
	if err != nil {
		r.t.Fatalf("inspect %q: %v", key, err)
	}
	return s
}

// queue enters a ticket that has to wait.
func (r *rig) queue(id string, req driver.Request) driver.Ticket {
	r.t.Helper()
	t := driver.Ticket{ID: id, Request: req}
	p, err := r.Enqueue(bg, t)
	if err != nil || p.Offered {
		r.t.Fatalf("enqueue %q: %+v, %v; it should wait", id, p, err)
	}
	return t
}

// wait has a blocking request wait, and returns what it gets in the end.
func (r *rig) wait(owner string, ttl time.Duration, keys ...string) <-chan driver.Grant {
	r.t.Helper()
	queued := r.state(keys[0]).Waiting
	got := make(chan driver.Grant, 1)
	go func() {
		g, err := r.Acquire(bg, driver.Request{Keys: keys, Owner: owner, TTL: ttl, Wait: 30 * time.Second})
		if err != nil {
			r.t.Errorf("%q for %q: %v", owner, keys, err)
		}
		got <- g
	}()
	redistest.Eventually(r.t, 10*time.Second, func() string {
		if n := r.state(keys[0]).Waiting; n != queued+1 {
			return fmt.Sprintf("%d wait", n)
		}
		return ""
	})
	return got
}

func TestInspectOfAFreeKeySaysThatNobodyHasIt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if got, want := r.state("k"), (driver.State{Key: "k"}); !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

func TestInspectTellsHolderGenerationTokenAndTimes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	before := r.redis.Time(bg).Val()
	g, err := r.Acquire(bg, driver.Request{
		Keys: []string{"k"}, Owner: "me", Generation: driver.Generation{Epoch: 3, Attempt: 2}, TTL: time.Minute, Wait: driver.NoWait,
	})
	if err != nil {
		t.Fatal(err)
	}
	after := r.redis.Time(bg).Val()
	s := r.state("k")
	if s.Since.Before(before.Truncate(time.Microsecond)) || s.Since.After(after) {
		t.Errorf("held since %s, taken between %s and %s", s.Since, before, after)
	}
	if s.TTL <= 50*time.Second || s.TTL > time.Minute {
		t.Errorf("its time to live is %s of a minute", s.TTL)
	}
	s.Since, s.TTL = time.Time{}, 0
	want := driver.State{
		Key: "k", Held: true, Owner: "me", Generation: driver.Generation{Epoch: 3, Attempt: 2},
		Token: g.Holds[0].Token, Expires: true,
	}
	if !reflect.DeepEqual(s, want) {
		t.Fatalf("got %+v, want %+v", s, want)
	}
}

func TestInspectOfALockWithoutExpirySaysSo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("me", 0, "k")
	if s := r.state("k"); s.Expires || s.TTL != 0 || !s.Held {
		t.Fatalf("got %+v", s)
	}
}

func TestATakeoverCountsFromItsOwnToken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("me", 0, "k")
	first := r.state("k")
	if _, err := r.Acquire(bg, driver.Request{
		Keys: []string{"k"}, Owner: "me", Generation: driver.Generation{Attempt: 1}, Wait: driver.NoWait,
	}); err != nil {
		t.Fatal(err)
	}
	if second := r.state("k"); second.Token <= first.Token || !second.Since.After(first.Since) {
		t.Fatalf("since %s with %d, after %s with %d", second.Since, second.Token, first.Since, first.Token)
	}
}

// When the clock was set back, tokens run ahead of it.
func TestNothingIsHeldSinceTheFuture(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("me", 0, "warm")
	ahead := time.Now().Add(time.Hour).UnixMicro()
	for _, k := range r.keys() {
		if strings.HasSuffix(k, "}:t") {
			r.redis.Set(bg, k, ahead, 0)
		}
	}
	if h := r.take("me", 0, "k").Holds[0]; h.Token <= driver.Token(ahead) {
		t.Fatalf("the token is %d, the sequence was at %d", h.Token, ahead)
	}
	if s := r.state("k"); s.Since.After(r.redis.Time(bg).Val()) {
		t.Fatalf("held since %s", s.Since)
	}
}

func TestTheLockOfAnotherProgramIsForeign(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.redis.Set(bg, "medusa_lock:k", "cart-7", 10*time.Second)
	s := r.state("k")
	if s.TTL <= 5*time.Second || s.TTL > 10*time.Second {
		t.Errorf("its time to live is %s", s.TTL)
	}
	s.TTL = 0
	if want := (driver.State{Key: "k", Held: true, Owner: "cart-7", Foreign: true, Expires: true}); !reflect.DeepEqual(s, want) {
		t.Fatalf("got %+v, want %+v", s, want)
	}
}

func TestALockThatAnotherProgramTookAfterOursIsForeign(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("*", time.Minute, "k")
	r.redis.Set(bg, "medusa_lock:k", "*", 50*time.Second) // ours has lapsed meanwhile
	if s := r.state("k"); !s.Foreign || s.Token != 0 || !s.Since.IsZero() {
		t.Fatalf("got %+v", s)
	}
}

func TestWaitersAreToldInTheirOrderWithWhatTheyWaitFor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("holder", 0, "a", "b")
	r.queue("odd\x00id", driver.Request{Keys: []string{"a", "b"}, Owner: "third"})
	r.wait("fourth", 0, "a")
	r.queue("undo", driver.Request{Keys: []string{"a"}, Owner: "first", Rank: driver.Compensation})
	r.take("second", 0, "of its own")
	r.queue("holds", driver.Request{Keys: []string{"a"}, Owner: "second"})

	s := r.state("a")
	for i, w := range s.Waiters {
		if w.Waited < 0 || w.Waited > 10*time.Second {
			t.Errorf("%q waits for %s", w.Owner, w.Waited)
		}
		s.Waiters[i].Waited = 0
	}
	want := []driver.Waiter{
		{Owner: "first", Keys: []string{"a"}, Rank: driver.Compensation, Ticket: "undo"},
		{Owner: "second", Keys: []string{"a"}, Ticket: "holds"},
		{Owner: "third", Keys: []string{"a", "b"}, Ticket: "odd\x00id"},
		{Owner: "fourth", Keys: []string{"a"}},
	}
	if s.Waiting != 4 || !reflect.DeepEqual(s.Waiters, want) {
		t.Fatalf("%d wait: %+v, want %+v", s.Waiting, s.Waiters, want)
	}
	if s := r.state("b"); s.Waiting != 1 || s.Waiters[0].Owner != "third" {
		t.Fatalf("for b wait %+v", s.Waiters)
	}
	r.letGo("holder", "fourth", "second", "first", "third")
}

// letGo frees everything of the owners, again until nobody waits in this process.
func (r *rig) letGo(owners ...string) {
	r.t.Helper()
	redistest.Eventually(r.t, 10*time.Second, func() string {
		for _, o := range owners {
			if _, err := r.ReleaseAll(bg, o); err != nil {
				return err.Error()
			}
		}
		var left []string
		for _, k := range r.keys() {
			if strings.Contains(k, "}:q:") || strings.HasPrefix(k, "medusa_lock:") {
				left = append(left, k)
			}
		}
		if len(left) > 0 {
			return fmt.Sprintf("left are %q", left)
		}
		return ""
	})
}

func TestInspectTellsOfNoMoreWaitersThanItIsAskedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("holder", 0, "k")
	for i := range 5 {
		r.queue(fmt.Sprint("ticket-", i), driver.Request{Keys: []string{"k"}, Owner: fmt.Sprint("owner-", i)})
	}
	for n, want := range map[int]int{-1: 0, 0: 0, 2: 2, 5: 5, 1 << 40: 5} {
		s, err := r.Inspect(bg, "k", n)
		if err != nil || s.Waiting != 5 || len(s.Waiters) != want {
			t.Errorf("asked for %d: %d of %d, %v", n, len(s.Waiters), s.Waiting, err)
		}
		for i, w := range s.Waiters {
			if w.Ticket != fmt.Sprint("ticket-", i) {
				t.Errorf("in place %d is %q", i, w.Ticket)
			}
		}
	}
}

func TestTheWaitIsMeasuredOnTheServersClock(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("holder", 0, "k")
	r.queue("t", driver.Request{Keys: []string{"k"}, Owner: "me"})
	redistest.Eventually(t, 10*time.Second, func() string {
		if w := r.state("k").Waiters[0].Waited; w < 20*time.Millisecond {
			return w.String()
		}
		return ""
	})
}

func TestAWaiterWhoseProcessDoesNotLiveIsPassedOver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("holder", 0, "k")
	r.queue("dead", driver.Request{Keys: []string{"k"}, Owner: "dead"})
	p, _, err := start(t, configOf(r))
	if err != nil {
		t.Fatal(err)
	}
	other := &rig{p, t, r.server, r.redis}
	other.queue("live", driver.Request{Keys: []string{"k"}, Owner: "live"})
	for _, w := range other.state("k").Waiters {
		if w.Aside {
			t.Errorf("%q is passed over", w.Owner)
		}
	}
	if err := r.Close(bg); err != nil { // its liveness ends
		t.Fatal(err)
	}
	redistest.Eventually(t, 10*time.Second, func() string {
		s := other.state("k")
		if s.Waiting != 2 {
			return fmt.Sprintf("%d wait", s.Waiting)
		}
		for _, w := range s.Waiters {
			if w.Aside != (w.Owner == "dead") {
				return fmt.Sprintf("%+v", s.Waiters)
			}
		}
		return ""
	})
	// It is passed over, and keeps its place among those set aside.
	if _, err := other.ReleaseAll(bg, "holder"); err != nil {
		t.Fatal(err)
	}
	s := other.state("k")
	if s.Owner != "live" || s.Waiting != 1 || s.Waiters[0].Owner != "dead" || !s.Waiters[0].Aside {
		t.Fatalf("got %+v", s)
	}
}

func TestWhoHasBeenOfferedALockIsItsHolderAndDoesNotWait(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("holder", 0, "k")
	next := r.queue("next", driver.Request{Keys: []string{"k"}, Owner: "next"})
	r.queue("last", driver.Request{Keys: []string{"k"}, Owner: "last"})
	if _, err := r.ReleaseAll(bg, "holder"); err != nil {
		t.Fatal(err)
	}
	s := r.state("k")
	if s.Owner != "next" || !s.Offer || s.Waiting != 1 || len(s.Waiters) != 1 || s.Waiters[0].Owner != "last" {
		t.Fatalf("offered: %+v", s)
	}
	if _, err := r.Claim(bg, next); err != nil {
		t.Fatal(err)
	}
	if s := r.state("k"); s.Owner != "next" || s.Offer || s.Expires || s.Waiting != 1 {
		t.Fatalf("claimed: %+v", s)
	}
}

func TestInspectAndListTakeAnyBytes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	names := []string{"\x00\xff", "a:b", "{a}b", "}{", "*", "medusa_lock:x", "~lockstep:{1bz}:h", strings.Repeat("k", 64<<10)}
	for _, k := range names {
		r.take("\xfeowner\x00"+k, 0, k)
		r.queue("t"+k, driver.Request{Keys: []string{k}, Owner: "\xfdwaits" + k})
	}
	for _, k := range names {
		s := r.state(k)
		if s.Key != k || s.Owner != "\xfeowner\x00"+k || s.Waiting != 1 || s.Waiters[0].Owner != "\xfdwaits"+k ||
			!slices.Equal(s.Waiters[0].Keys, []string{k}) || s.Waiters[0].Ticket != "t"+k {
			t.Errorf("%.40q: %.200v", k, s)
		}
	}
	var listed []string
	for _, s := range r.list(driver.ListRequest{}) {
		listed = append(listed, s.Key)
	}
	slices.Sort(names)
	slices.Sort(listed)
	if !slices.Equal(names, listed) {
		t.Fatalf("listed are %.500q", listed)
	}
}

func TestInspectOfAKeyThatIsNoStringIsAnError(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.redis.HSet(bg, "medusa_lock:k", "f", 1)
	if _, err := r.Inspect(bg, "k", 0); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Fatalf("got %v", err)
	}
}

func TestInspectAndListChangeNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("me", 0, "k")
	r.queue("t", driver.Request{Keys: []string{"k"}, Owner: "waits"})
	r.redis.Set(bg, "medusa_lock:other", "medusa", 0)
	p, _, err := start(t, configOf(r))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(bg); err != nil { // it would go on to say that it lives
		t.Fatal(err)
	}
	changes := func() string {
		_, rest, _ := strings.Cut(r.redis.Info(bg, "persistence").Val(), "rdb_changes_since_last_save:")
		n, _, _ := strings.Cut(rest, "\r\n")
		return n
	}
	before := changes()
	looker := &rig{p, t, r.server, r.redis}
	if s := looker.state("k"); s.Waiting != 1 {
		t.Fatalf("got %+v", s)
	}
	looker.list(driver.ListRequest{IncludeForeign: true})
	if after := changes(); after != before || before == "" {
		t.Fatalf("%q changes were written before, %q after", before, after)
	}
}

func TestALostReplyOfInspectAndListIsAskedForAgain(t *testing.T) {
	t.Parallel()
	r, proxy := newProxyRig(t)
	r.take("me", 0, "k")
	proxy.dropReplies(1)
	if s := r.state("k"); s.Owner != "me" {
		t.Fatalf("got %+v", s)
	}
	proxy.dropped(t)
	proxy.dropReplies(1)
	if all := r.list(driver.ListRequest{}); len(all) != 1 {
		t.Fatalf("got %+v", all)
	}
	proxy.dropped(t)
}
