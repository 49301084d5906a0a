package lockredis_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// list reads all pages. It fails when they do not end.
func (r *rig) list(req driver.ListRequest) []driver.State {
	r.t.Helper()
	var all []driver.State
	for range 10_000 {
		page, err := r.List(bg, req)
		if err != nil {
			r.t.Fatalf("list from %q: %v", req.Cursor, err)
		}
		all = append(all, page.Locks...)
		if page.Next == "" {
			return all
		}
		req.Cursor = page.Next
	}
	r.t.Fatalf("the pages do not end; %d locks so far", len(all))
	return nil
}

func keysOf(locks []driver.State) []string {
	keys := make([]string, len(locks))
	for i, s := range locks {
		keys[i] = s.Key
	}
	slices.Sort(keys)
	return keys
}

func TestAListOfNothingIsOneEmptyPage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	page, err := r.List(bg, driver.ListRequest{})
	if err != nil || len(page.Locks) != 0 || page.Next != "" {
		t.Fatalf("got %+v, %v", page, err)
	}
}

func TestAListTellsOfALockWhatInspectTells(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g, err := r.Acquire(bg, driver.Request{
		Keys: []string{"k"}, Owner: "me", Generation: driver.Generation{Epoch: 3, Attempt: 2}, TTL: time.Minute, Wait: driver.NoWait,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.queue("t", driver.Request{Keys: []string{"k"}, Owner: "waits"})
	all := r.list(driver.ListRequest{})
	if len(all) != 1 {
		t.Fatalf("got %+v", all)
	}
	s, told := all[0], r.state("k")
	if s.Key != "k" || !s.Held || s.Owner != "me" || s.Generation != (driver.Generation{Epoch: 3, Attempt: 2}) ||
		s.Token != g.Holds[0].Token || !s.Since.Equal(told.Since) || !s.Expires || s.TTL < told.TTL || s.TTL > time.Minute {
		t.Errorf("got %+v, inspect says %+v", s, told)
	}
	if s.Waiting != 0 || s.Waiters != nil {
		t.Errorf("it is listed with waiters: %+v", s)
	}
}

func TestAListPagesThroughAllThatIsHeldEachOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const n = 1234
	want := make([]string, n)
	for i := range want {
		want[i] = fmt.Sprintf("key-%04d", i)
	}
	for some := range slices.Chunk(want, 100) {
		r.take("me", 0, some...)
	}
	for _, limit := range []int{-1, 0, 1, 10, 1 << 40} {
		req := driver.ListRequest{Limit: limit}
		page, err := r.List(bg, req)
		if err != nil || len(page.Locks) > n-1 || page.Next == "" {
			t.Fatalf("with limit %d the first page has %d of %d, %v", limit, len(page.Locks), n, err)
		}
		if got := keysOf(r.list(req)); !slices.Equal(got, want) {
			t.Fatalf("with limit %d there are %d locks", limit, len(got))
		}
	}
}

func TestAListLeavesOutWhatHasLapsedOrIsAnothersAndRevokedOnesStay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("me", 0, "mine")
	r.take("me", 50*time.Millisecond, "lapses")
	r.take("*", time.Minute, "taken over")
	r.redis.Set(bg, "medusa_lock:taken over", "*", 50*time.Second)
	r.take("me", 0, "changed")
	r.redis.Del(bg, "medusa_lock:changed")
	r.redis.HSet(bg, "medusa_lock:changed", "f", 1) // no string any more
	h := r.take("me", 0, "revoked").Holds[0]
	r.force(driver.ForceRequest{Key: "revoked", Owner: "me", Token: h.Token, Reason: "why"}, true)
	redistest.Eventually(t, 5*time.Second, func() string {
		got := keysOf(r.list(driver.ListRequest{}))
		if !slices.Equal(got, []string{"mine", "revoked"}) {
			return fmt.Sprintf("listed are %q", got)
		}
		return ""
	})
	for _, s := range r.list(driver.ListRequest{}) {
		if s.Revoked != (s.Key == "revoked") || s.Revoked && s.Reason != "why" {
			t.Errorf("got %+v", s)
		}
	}
}

func TestForeignLocksAreListedOnlyWhereTheyAreAskedForAndEachOnce(t *testing.T) {
	t.Parallel()
	for _, ns := range []string{"medusa_lock:", `odd[*]?\^-:`} {
		server := redistest.Start(t)
		p, _, err := start(t, lockredis.Config{RedisURL: server.URL(), Namespace: ns})
		if err != nil {
			t.Fatal(err)
		}
		r := &rig{p, t, server, server.Client()}
		r.take("me", 0, "ours", "and ours")
		r.take("*", time.Minute, "taken over")
		r.redis.Set(bg, ns+"taken over", "*", 50*time.Second)
		r.redis.Set(bg, ns+"theirs", "cart-7", 0)
		r.redis.Set(bg, ns+"\x00\xff", "cart-8", time.Hour)
		r.redis.HSet(bg, ns+"no lock", "f", 1)
		r.redis.Set(bg, "oddX", "no lock either", 0)
		r.redis.Set(bg, ns, "nor this", 0)
		for i := range 500 {
			r.redis.Set(bg, fmt.Sprint("other-", i), "x", 0)
		}
		if got, want := keysOf(r.list(driver.ListRequest{})), []string{"and ours", "ours"}; !slices.Equal(got, want) {
			t.Errorf("our own are %q", got)
		}
		for _, limit := range []int{0, 3, 1000} {
			all := r.list(driver.ListRequest{IncludeForeign: true, Limit: limit})
			if got, want := keysOf(all), []string{"\x00\xff", "and ours", "ours", "taken over", "theirs"}; !slices.Equal(got, want) {
				t.Errorf("with limit %d all are %q", limit, got)
			}
			for _, s := range all {
				if ours := strings.HasSuffix(s.Key, "ours"); !s.Held || s.Foreign == ours || (s.Token == 0) == ours {
					t.Errorf("got %+v", s)
				}
				if s.Key == "\x00\xff" && (s.Owner != "cart-8" || !s.Expires || s.TTL < 59*time.Minute) {
					t.Errorf("got %+v", s)
				}
			}
		}
	}
}

func TestWithoutForeignLocksTheNamespaceIsNeverScanned(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("me", 0, "k")
	r.redis.ConfigResetStat(bg)
	r.list(driver.ListRequest{})
	stats := r.redis.Info(bg, "commandstats").Val()
	for _, word := range []string{"cmdstat_scan:", "cmdstat_keys:"} {
		if strings.Contains(stats, word) {
			t.Errorf("%s in %s", word, stats)
		}
	}
	if !strings.Contains(stats, "cmdstat_hscan:") {
		t.Errorf("it looked at no record: %s", stats)
	}
}

func TestALockThatIsHeldAllTheTimeIsListedWhileOthersComeAndGo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	want := make([]string, 200)
	for i := range want {
		want[i] = fmt.Sprintf("stays-%03d", i)
	}
	r.take("me", 0, want...)
	req := driver.ListRequest{Limit: 10}
	var got []driver.State
	for round := 0; ; round++ {
		page, err := r.List(bg, req)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page.Locks...)
		if req.Cursor = page.Next; page.Next == "" {
			break
		}
		var passing []string
		for i := range 40 {
			passing = append(passing, fmt.Sprintf("passes-%d-%d", round, i))
		}
		r.take("passer", 0, passing...)
		if round%3 == 2 {
			if _, err := r.ReleaseAll(bg, "passer"); err != nil {
				t.Fatal(err)
			}
		}
	}
	seen := slices.Compact(keysOf(got))
	for _, k := range want {
		if _, ok := slices.BinarySearch(seen, k); !ok {
			t.Errorf("%q is missing", k)
		}
	}
}

func TestOnAClusterAllSlotsAreListed(t *testing.T) {
	t.Parallel()
	r := clusterRig(t)
	var want []string
	for i := range 40 {
		want = append(want, fmt.Sprintf("key-%02d", i))
	}
	for _, k := range want {
		r.take("me", 0, k)
	}
	r.take("me", 0, "{same}1")
	r.take("me", 0, "{same}2")
	want = append(want, "{same}1", "{same}2")
	for _, limit := range []int{0, 1} {
		if got := keysOf(r.list(driver.ListRequest{Limit: limit})); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Fatalf("listed are %q", got)
		}
	}
	r.redis.Set(bg, "medusa_lock:theirs", "cart-7", 0)
	want = append(want, "theirs")
	if got := keysOf(r.list(driver.ListRequest{IncludeForeign: true, Limit: 7})); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Fatalf("with the foreign one listed are %q", got)
	}
}

func TestWhatIsNoCursorIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, c := range []string{"x", "0", ":", "h", "h:0", "h:1:0", "h:-1:0", "h:0:x", "h:0:-1", "h:x:0", "s", "s:", "s:x:", "s:0", "\x00\xff", "h:0:0:0"} {
		page, err := r.List(bg, driver.ListRequest{Cursor: c})
		var bad *lockredis.CursorError
		if !errors.As(err, &bad) || bad.Cursor != c || !strings.Contains(err.Error(), fmt.Sprintf("%q", c)) {
			t.Errorf("%q: got %+v, %v", c, page, err)
		}
	}
}
