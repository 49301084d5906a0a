package lockmem

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// started returns a provider that is closed when the test ends.
func started(t testing.TB) *Provider {
	t.Helper()
	p := New(Config{})
	if err := p.Start(context.Background(), driver.Env{}); err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) }) // it never fails
	return p
}

// ask is a request that waits for a minute.
func ask(owner string, keys ...string) driver.Request {
	return driver.Request{Keys: keys, Owner: owner, Wait: time.Minute}
}

func lasting(ttl time.Duration, req driver.Request) driver.Request {
	req.TTL = ttl
	return req
}

func take(t testing.TB, p *Provider, req driver.Request) []driver.Granted {
	t.Helper()
	grant, err := p.Acquire(t.Context(), req)
	if err != nil {
		t.Fatalf("Acquire(%+v): %v", req, err)
	}
	return grant.Holds
}

// freeOf frees keys by their owner, all in one call.
func freeOf(t testing.TB, p *Provider, owner string, keys ...string) {
	t.Helper()
	holds := make([]driver.Hold, len(keys))
	for i, key := range keys {
		holds[i] = driver.Hold{Key: key, Owner: owner}
	}
	freed, err := p.Release(t.Context(), holds)
	if err != nil || slices.Contains(freed, false) {
		t.Fatalf("Release(%q, %q): %t, %v", owner, keys, freed, err)
	}
}

// served collects how waiters were answered.
type served struct {
	mu      sync.Mutex
	answers []answer
}

type answer struct {
	text  string       // the owner, and the error if there was one
	token driver.Token // of the grant; it tells who was served first
}

// wait starts a waiter and returns when it waits.
func (s *served) wait(t testing.TB, p *Provider, req driver.Request) {
	t.Helper()
	go func() {
		grant, err := p.Acquire(t.Context(), req)
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case err == nil:
			s.answers = append(s.answers, answer{req.Owner, grant.Holds[0].Token})
		case !errors.Is(err, context.Canceled): // the test has ended
			s.answers = append(s.answers, answer{text: req.Owner + ": " + err.Error()})
		}
	}()
	synctest.Wait()
}

// want compares the waiters that have their answer, in the order of the grants.
func (s *served) want(t testing.TB, want ...string) {
	t.Helper()
	if got := s.texts(); !slices.Equal(got, want) {
		t.Errorf("served: %q, want %q", got, want)
	}
}

// texts are the answers: the errors first, then the grants in their order.
func (s *served) texts() []string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(s.answers, func(a, b answer) int { return cmp.Compare(a.token, b.token) })
	var got []string
	for _, a := range s.answers {
		got = append(got, a.text)
	}
	return got
}

func wantEmpty(t testing.TB, p *Provider) {
	t.Helper()
	synctest.Wait()
	if left := leftBehind(p); left != "" {
		t.Error(left)
	}
}

// leftBehind tells what is kept though nobody has or wants anything.
func leftBehind(p *Provider) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l, o, e, u, k := len(p.table.locks), len(p.table.owners), len(p.table.ends), len(p.queue.ups), len(p.tickets); l+o+e+u+k > 0 {
		return fmt.Sprintf("left behind: %d locks, %d owners, %d ends, %d owners that are held up, %d tickets", l, o, e, u, k)
	}
	return unseen(p)
}

// unseen tells of changes that nobody has looked at.
func unseen(p *Provider) string {
	c := &p.changes
	f, g, e, x, l, y, z := len(c.free), len(c.given), len(c.entered), len(c.closing), len(c.lapsed), len(c.fit), len(c.late)
	if f+g+e+x+l+y+z == 0 {
		return ""
	}
	return fmt.Sprintf("not looked at: %d free, %d given, %d entered, %d closing, %d lapsed, %d fit, %d late", f, g, e, x, l, y, z)
}

func TestFreeKeysLeaveNoMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := started(t)
		for i := range 200 {
			a, b := "a"+strconv.Itoa(i), "b"+strconv.Itoa(i)
			take(t, p, lasting(time.Duration(i%2)*time.Hour, ask("owner", a, b)))
			req := ask("other", a, b, "c"+strconv.Itoa(i))
			req.Wait = time.Millisecond
			if _, err := p.Acquire(t.Context(), req); !errors.Is(err, driver.ErrTimeout) {
				t.Fatalf("Acquire: %v, want %v", err, driver.ErrTimeout)
			}
			freeOf(t, p, "owner", a, b)
			take(t, p, lasting(time.Minute, ask("owner", a)))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		wantEmpty(t, p)
	})
}

func TestOneKeyIsFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, s := started(t), &served{}
		take(t, p, lasting(time.Second, ask("0", "a")))
		for i := 1; i <= 5; i++ {
			s.wait(t, p, lasting(time.Second, ask(strconv.Itoa(i), "a")))
		}
		for range 3 {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		s.want(t, "1", "2", "3")
		freeOf(t, p, "3", "a")
		s.want(t, "1", "2", "3", "4")
		freeOf(t, p, "4", "a")
		s.want(t, "1", "2", "3", "4", "5")
	})
}

func TestTicketOrderOverManyKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, s := started(t), &served{}
		take(t, p, ask("holder", "a", "b", "c"))
		s.wait(t, p, ask("1", "c"))
		s.wait(t, p, ask("2", "a", "b"))
		s.wait(t, p, ask("3", "b"))
		s.wait(t, p, ask("4", "a"))
		freeOf(t, p, "holder", "a", "b", "c")
		s.want(t, "1", "2")
		freeOf(t, p, "2", "b", "a")
		s.want(t, "1", "2", "3", "4")
	})
}

func TestEqualOwnersAreServedTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, s := started(t), &served{}
		take(t, p, ask("holder", "a"))
		s.wait(t, p, ask("x", "a"))
		s.wait(t, p, ask("y", "a"))
		s.wait(t, p, ask("x", "a"))
		freeOf(t, p, "holder", "a")
		s.want(t, "x", "x")
	})
}

func TestWaiterIsRevokedByLaterGeneration(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, s := started(t), &served{}
		take(t, p, ask("holder", "a"))
		take(t, p, ask("x", "b"))
		s.wait(t, p, ask("x", "a", "b"))
		later := ask("x", "b")
		later.Generation.Attempt = 1
		take(t, p, later)
		s.want(t, "x: "+driver.ErrRevoked.Error())
		freeOf(t, p, "holder", "a")
		freeOf(t, p, "x", "b")
		wantEmpty(t, p)
	})
}

func TestLapsedIsFreeBeforeTheTimer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, s := started(t), &served{}
		hold := take(t, p, lasting(time.Second, ask("holder", "a")))[0].Hold
		s.wait(t, p, ask("1", "a"))
		p.clock.timer.Stop()
		time.Sleep(time.Second)
		s.want(t)
		freed, err := p.Release(t.Context(), []driver.Hold{hold})
		if err != nil || freed[0] {
			t.Errorf("Release of a lapsed hold: %t, %v, want false", freed, err)
		}
		s.want(t, "1")
	})
}

func TestLapseAtTheEndOfTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, s := started(t), &served{}
		take(t, p, lasting(time.Minute, ask("holder", "a")))
		s.wait(t, p, ask("1", "a")) // for a minute
		time.Sleep(time.Minute)
		s.want(t, "1")
	})
}

func TestLapseIsExact(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, s := started(t), &served{}
		take(t, p, lasting(1500*time.Microsecond, ask("holder", "a")))
		s.wait(t, p, ask("1", "a"))
		time.Sleep(1500*time.Microsecond - 1)
		s.want(t)
		time.Sleep(time.Nanosecond)
		s.want(t, "1")
	})
}

func TestTimerFollowsTheFirstEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, s := started(t), &served{}
		for i, n := range []int{5, 1, 4, 2, 3} {
			take(t, p, lasting(time.Duration(n)*time.Second, ask("holder", fmt.Sprint("k", n))))
			if i == 2 {
				freeOf(t, p, "holder", "k1") // the timer is set for it
			}
		}
		for ttl := 5; ttl >= 2; ttl-- {
			s.wait(t, p, ask(strconv.Itoa(ttl), fmt.Sprint("k", ttl)))
		}
		for n := 1; n <= 5; n++ {
			time.Sleep(time.Second)
			s.want(t, []string{"2", "3", "4", "5"}[:max(n-1, 0)]...)
		}
	})
}

func TestExtendWithoutATimeTakesTheExpiryAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := started(t)
		hold := take(t, p, lasting(time.Second, ask("holder", "a")))[0].Hold
		if got, err := p.Extend(t.Context(), 0, []driver.Hold{hold}); err != nil || got[0] != (driver.Extension{Held: true}) {
			t.Errorf("Extend: %+v, %v, want a hold without end", got, err)
		}
		time.Sleep(time.Hour)
		freeOf(t, p, "holder", "a")
		wantEmpty(t, p)
	})
}

func TestLongestTTL(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := started(t)
		take(t, p, lasting(math.MaxInt64, ask("holder", "a")))
		time.Sleep(100 * 365 * 24 * time.Hour)
		freeOf(t, p, "holder", "a")
		wantEmpty(t, p)
	})
}

func TestTokensBeginAtTheWallClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := take(t, started(t), ask("owner", "a"))[0].Token
		if want := driver.Token(time.Now().UnixMicro()); first <= want || first > want+1 {
			t.Errorf("the first token is %d, want %d", first, want+1)
		}
		time.Sleep(time.Millisecond)
		if next := take(t, started(t), ask("owner", "a"))[0].Token; next <= first {
			t.Errorf("a later provider's first token is %d, want more than %d", next, first)
		}
	})
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	want := driver.Info{DefaultWait: 5 * time.Second, ProcessLocal: true}
	if got := New(Config{}).Describe(); got != want {
		t.Errorf("Describe: %+v, want %+v", got, want)
	}
	if got := New(Config{WaitLockingTimeout: time.Minute}).Describe().DefaultWait; got != time.Minute {
		t.Errorf("DefaultWait: %s, want the configured minute", got)
	}
	if err := New(Config{WaitLockingTimeout: -1}).Start(t.Context(), driver.Env{}); err == nil {
		t.Error("Start with a negative WaitLockingTimeout: no error")
	}
}

func TestStartOnce(t *testing.T) {
	t.Parallel()
	p := started(t)
	if err := p.Start(t.Context(), driver.Env{}); !errors.Is(err, errStartedTwice) {
		t.Errorf("the second Start: %v, want %v", err, errStartedTwice)
	}
	for range 2 {
		if err := p.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if err := p.Start(t.Context(), driver.Env{}); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("Start after Close: %v, want %v", err, driver.ErrClosed)
	}
}
