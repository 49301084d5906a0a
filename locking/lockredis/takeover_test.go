package lockredis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// attempt is a request of an execution's attempt for a key.
func attempt(epoch, n uint64, owner, key string) driver.Request {
	return driver.Request{
		Keys: []string{key}, Owner: owner, Generation: driver.Generation{Epoch: epoch, Attempt: n},
		TTL: time.Minute, Wait: 30 * time.Second,
	}
}

// offered enters a ticket that is offered its keys at once.
func (r *rig) offered(ticket driver.Ticket) driver.Grant {
	r.t.Helper()
	p, err := r.Enqueue(bg, ticket)
	if err != nil || !p.Offered {
		r.t.Fatalf("enqueue %q: %+v, %v; it should be offered its keys", ticket.ID, p, err)
	}
	return p.Grant
}

func (r *rig) claim(ticket driver.Ticket) driver.Grant {
	r.t.Helper()
	g, err := r.Claim(bg, ticket)
	if err != nil {
		r.t.Fatalf("claim %q: %v", ticket.ID, err)
	}
	return g
}

// One release serves both: the first is offered the lock, and the second takes over.
func TestATakeoverWithinOneHandOverHasANewToken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := r.take("x", 0, "k")
	first := r.ask(attempt(1, 1, "o", "k"))
	r.inLine("k", 1)
	second := r.ask(attempt(1, 2, "o", "k"))
	r.inLine("k", 2)
	r.free(g)
	old := granted(t, first, 5*time.Second, "attempt 1").Holds[0]
	taken := granted(t, second, 5*time.Second, "attempt 2").Holds[0]
	if taken.Token <= old.Token {
		t.Errorf("attempt 1 has token %d, attempt 2, which took over, %d", old.Token, taken.Token)
	}
	if freed, err := r.Release(bg, []driver.Hold{old.Hold}); err != nil || freed[0] {
		t.Errorf("attempt 1 freed the lock of attempt 2: %v, %v", freed, err)
	}
}

func TestATicketTakenUpByALaterEpochFencesTheEarlierOne(t *testing.T) {
	t.Parallel()
	zombie := newRig(t)
	heir := zombie.another()
	ticket := driver.Ticket{ID: "t", Request: attempt(1, 1, "o", "k")}
	zombie.offered(ticket)
	old := zombie.claim(ticket).Holds[0]
	later := ticket
	later.Generation.Epoch = 2
	if taken := heir.offered(later).Holds[0]; taken.Token <= old.Token {
		t.Errorf("epoch 1 has token %d, epoch 2, which took over, %d", old.Token, taken.Token)
	}
	heir.claim(later)

	if _, err := zombie.Acquire(bg, attempt(1, 1, "o", "k")); !errors.Is(err, driver.ErrRevoked) {
		t.Errorf("epoch 1 asks again: %v", err)
	}
	if _, err := zombie.Claim(bg, ticket); !errors.Is(err, driver.ErrRevoked) {
		t.Errorf("epoch 1 claims again: %v", err)
	}
	if _, err := zombie.Enqueue(bg, ticket); !errors.Is(err, driver.ErrRevoked) {
		t.Errorf("epoch 1 enqueues again: %v", err)
	}
	if ended, err := zombie.Cancel(bg, ticket); err != nil || ended {
		t.Errorf("epoch 1 has cancelled the ticket of epoch 2: %t, %v", ended, err)
	}
	if freed, err := zombie.Release(bg, []driver.Hold{old.Hold}); err != nil || freed[0] {
		t.Errorf("epoch 1 freed what epoch 2 has claimed: %v, %v", freed, err)
	}
	heir.busy("you", "k")
}

func TestATicketThatALaterEpochWaitsWithIsNotTheEarlierOnesToEnd(t *testing.T) {
	t.Parallel()
	zombie := newRig(t)
	heir := zombie.another()
	zombie.take("x", 0, "k")
	ticket := zombie.queue("t", attempt(1, 1, "o", "k"))
	heir.queue("t", attempt(2, 1, "o", "k"))
	if ended, err := zombie.Cancel(bg, ticket); err != nil || ended {
		t.Errorf("epoch 1 has cancelled the ticket of epoch 2: %t, %v", ended, err)
	}
	if n := heir.state("k").Waiting; n != 1 {
		t.Errorf("%d wait", n)
	}
}

func TestAClaimOfASecondTicketOfAnOwnerIsAFullHoldThatTheFirstOnesEndLeaves(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := driver.Ticket{ID: "1", Request: attempt(1, 1, "o", "k")}
	second := first
	second.ID = "2"
	r.offered(first)
	r.offered(second)
	g := r.claim(second)
	if left := time.Until(g.Holds[0].Until); left < 50*time.Second {
		t.Errorf("claimed for a minute, it lives %s", left)
	}
	if _, err := r.Cancel(bg, first); err != nil {
		t.Fatal(err)
	}
	if v := r.redis.Get(bg, "medusa_lock:k").Val(); v != "o" {
		t.Errorf("ticket 2 has claimed k, ticket 1 of the same owner was cancelled, and k is %q's", v)
	}
}

// A ticket that is over is not stated again when its offer would have lapsed.
func TestAnOfferOfATicketThatHasEndedIsOver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ends := map[string]func(driver.Ticket, driver.Grant){
		"released": func(_ driver.Ticket, g driver.Grant) { r.free(g) },
		"extended, then released": func(_ driver.Ticket, g driver.Grant) {
			if x, err := r.Extend(bg, time.Minute, []driver.Hold{g.Holds[0].Hold}); err != nil || !x[0].Held {
				t.Fatalf("extend: %+v, %v", x, err)
			}
			r.free(g)
		},
		"claimed, then released": func(ticket driver.Ticket, _ driver.Grant) { r.free(r.claim(ticket)) },
		"cancelled": func(ticket driver.Ticket, _ driver.Grant) {
			if ended, err := r.Cancel(bg, ticket); err != nil || !ended {
				t.Fatalf("cancel: %t, %v", ended, err)
			}
		},
	}
	for name, end := range ends {
		ticket := driver.Ticket{ID: name, Request: driver.Request{Keys: []string{name}, Owner: "o", TTL: 200 * time.Millisecond}}
		end(ticket, r.offered(ticket))
		if n := r.redis.HLen(bg, hubName("w")).Val() + r.redis.ZCard(bg, queueName(name)).Val(); n != 0 {
			t.Errorf("%s: the server still has the ticket", name)
		}
	}
	never(t, 1200*time.Millisecond, func() string { // more than the offer and two ticks
		for name := range ends {
			if v := r.redis.Get(bg, "medusa_lock:"+name).Val(); v != "" {
				return fmt.Sprintf("%s: the key is %q's again", name, v)
			}
		}
		return ""
	})
}

// Whoever enqueues it, and however often the process is taken for dead meanwhile.
func TestATicketThatIsEnqueuedByManyWhileItIsStatedAgainStandsOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("x", 0, "k")
	ticket := func(i int) driver.Ticket {
		return driver.Ticket{ID: fmt.Sprint(i), Request: driver.Request{Keys: []string{"k"}, Owner: fmt.Sprint("o", i), TTL: time.Minute}}
	}
	for i := range 4 {
		r.queue(fmt.Sprint(i), ticket(i).Request)
	}
	ctx, cancel := context.WithTimeout(bg, 20*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 150 {
				if _, err := r.Enqueue(ctx, ticket(i%4)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	for {
		r.takenForDead()
		select {
		case <-done:
			redistest.Eventually(t, 5*time.Second, func() string {
				if got := r.redis.ZRange(bg, queueName("k"), 0, -1).Val(); !slices.Equal(got, []string{"t:0", "t:1", "t:2", "t:3"}) {
					return fmt.Sprintf("in the queue are %q", got)
				}
				return ""
			})
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// The race detector is the judge.
func TestATicketMayBeEnqueuedAgainWhileItsOfferComes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	req := driver.Request{Keys: []string{"k"}, Owner: "o", TTL: time.Minute}
	for i := range 20 {
		g := r.take("x", 0, "k")
		ticket := r.queue(fmt.Sprint(i), req)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 10 {
					if _, err := r.Enqueue(bg, ticket); err != nil {
						t.Error(err)
					}
				}
			})
		}
		r.free(g)
		all.Wait()
		r.free(r.claim(ticket))
	}
}

func TestATicketThatIsClaimedBeforeItsEnqueueIsAnsweredWaitsNoLonger(t *testing.T) {
	t.Parallel()
	r, w := newWiredRig(t)
	other := r.another()
	g := other.take("x", 0, "k")
	ticket := driver.Ticket{ID: "early", Request: driver.Request{Keys: []string{"k"}, Owner: "o", TTL: time.Minute}}
	slow := w.slowAnswer(t, "t:early")
	enqueued := make(chan error)
	go func() {
		_, err := r.Enqueue(bg, ticket)
		enqueued <- err
	}()
	slow.happens(t)
	other.free(g)
	r.free(r.claim(ticket))
	close(slow.let)
	if err := <-enqueued; err != nil {
		t.Error(err)
	}
	if n := r.Waiting(); n != 0 {
		t.Errorf("%d requests wait", n)
	}
}
