package lockredis_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// line has so many wait for a key, one after the other; each gives it back as soon
// as it is served. Served has their numbers in the order in which that happened.
func (r *rig) line(key string, n int) (served <-chan int) {
	r.t.Helper()
	in := r.redis.ZCard(bg, queueName(key)).Val()
	order := make(chan int, n)
	for i := range n {
		go func() {
			g, err := r.Acquire(bg, driver.Request{Keys: []string{key}, Owner: fmt.Sprint("w", i), Wait: time.Minute})
			if err != nil {
				r.t.Errorf("waiter %d: %v", i, err)
				return
			}
			order <- i
			if _, err := r.Release(bg, []driver.Hold{g.Holds[0].Hold}); err != nil {
				r.t.Errorf("waiter %d: %v", i, err)
			}
		}()
		r.inLine(key, in+int64(i)+1)
	}
	return order
}

func wantOrder(t *testing.T, served <-chan int, n int) {
	t.Helper()
	var got, want []int
	timeout := time.After(20 * time.Second)
	for i := range n {
		select {
		case who := <-served:
			got, want = append(got, who), append(want, i)
		case <-timeout:
			t.Fatalf("served were only %v of %d", got, n)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("served were %v", got)
	}
}

func TestWaitersKeepTheirOrderWhenTheServerRestartsWithItsData(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	r := (&rig{nil, t, server, server.Client()}).at(lockredis.Config{RedisURL: server.URL()})
	g := r.take("x", 0, "k")
	served := r.line("k", 12)
	server.Restart()
	r.inLine("k", 12)
	redistest.Eventually(t, 10*time.Second, func() string {
		freed, err := r.Release(bg, []driver.Hold{g.Holds[0].Hold})
		if err != nil || !freed[0] {
			return fmt.Sprint(freed, err)
		}
		return ""
	})
	wantOrder(t, served, 12)
}

func TestWaitersKeepTheirOrderWhenTheServerRestartsEmpty(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("x", 0, "k")
	served := r.line("k", 12)
	r.server.Restart() // the lock is gone, too
	wantOrder(t, served, 12)
}

func TestWaitersKeepTheirOrderOverAFlushAlsoWhenTheyAreMany(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("x", 0, "k")
	const n = 120 // they are stated again in several calls
	served := r.line("k", n)
	r.redis.FlushAll(bg)
	wantOrder(t, served, n)
}

// Tickets and blocking requests stand in one queue.
func TestTicketsAndBlockingRequestsKeepTheirOrderOverAFlush(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	events := make(chan driver.Event, 10)
	p, err := startTold(t, lockredis.Config{RedisURL: server.URL()}, func(e driver.Event) { events <- e })
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{p, t, server, server.Client()}
	r.take("x", 0, "k")
	ticket := r.queue("first", driver.Request{Keys: []string{"k"}, Owner: "o", TTL: time.Minute})
	second := r.ask(driver.Request{Keys: []string{"k"}, Owner: "*", Wait: time.Minute})
	r.inLine("k", 2)
	r.redis.FlushAll(bg)
	select {
	case e := <-events:
		if e.Ticket != ticket.ID || e.Err != nil {
			t.Fatalf("told was %+v", e)
		}
	case o := <-second:
		t.Fatalf("the request behind the ticket was served first: %+v", o)
	case <-time.After(10 * time.Second):
		t.Fatal("nobody was served")
	}
	r.free(r.claim(ticket))
	granted(t, second, 10*time.Second, "the request behind the ticket")
}

// Somebody has the lock again before the waiters are back.
func TestWaitersOfManyProcessesKeepTheirOrderOverAFlush(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("x", 0, "k")
	var lines []<-chan outcome
	for i := range 6 {
		p := r.another()
		lines = append(lines, p.ask(driver.Request{Keys: []string{"k"}, Owner: fmt.Sprint("w", i), TTL: 50 * time.Millisecond, Wait: time.Minute}))
		r.inLine("k", int64(i)+1)
	}
	if _, err := r.redis.TxPipelined(bg, func(tx redis.Pipeliner) error {
		tx.FlushAll(bg)
		tx.Set(bg, "medusa_lock:k", "x", 0)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	r.inLine("k", 6)
	r.redis.Del(bg, "medusa_lock:k")
	var last driver.Token
	for i, got := range lines {
		h := granted(t, got, 10*time.Second, fmt.Sprint("waiter ", i)).Holds[0]
		if h.Token <= last {
			t.Errorf("waiter %d has token %d, the one before it %d", i, h.Token, last)
		}
		last = h.Token
	}
}

func TestWaitersAreBackSoonAfterTheServerHasForgottenThem(t *testing.T) {
	t.Parallel()
	const n = 1500
	r := newRig(t)
	r.take("x", 0, "k")
	r.enqueueMany(n, "k", "w")
	if _, err := r.redis.TxPipelined(bg, func(tx redis.Pipeliner) error {
		tx.FlushAll(bg)
		tx.Set(bg, "medusa_lock:k", "x", 0)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	r.inLine("k", n)
	took := time.Since(began)
	t.Logf("%d are back after %s", n, took)
	if took > 5*time.Second {
		t.Errorf("%d are back after %s", n, took)
	}
}
