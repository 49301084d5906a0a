package lockredis_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// grants listens to what processes are told on their channels. Seen has the grants
// up to now.
func (r *rig) grants() (seen func() []string) {
	r.t.Helper()
	line := r.redis.PSubscribe(bg, "~lockstep:c:*", "the end")
	r.t.Cleanup(func() { line.Close() })
	for range 2 {
		if _, err := line.Receive(bg); err != nil {
			r.t.Fatal(err)
		}
	}
	messages := line.Channel()
	var all []string
	return func() []string {
		r.t.Helper()
		if err := r.redis.Publish(bg, "the end", "").Err(); err != nil {
			r.t.Fatal(err)
		}
		for {
			select {
			case m := <-messages:
				if m.Channel == "the end" {
					return all
				}
				if strings.HasPrefix(m.Payload, "1:g") {
					all = append(all, m.Payload)
				}
			case <-time.After(5 * time.Second):
				r.t.Fatal("what was published did not come")
			}
		}
	}
}

// waitsFor returns when the process knows that it waits for a key, which it shows by
// a tick.
func (r *rig) waitsFor(w *wire, key string) {
	r.t.Helper()
	r.inLine(key, 1)
	tick := w.holdBack(r.t, "medusa_lock:"+key)
	tick.happens(r.t)
	tick.goOn(r.t)
}

func TestAReleaseTellsItsOwnProcessOfAGrantInItsAnswer(t *testing.T) {
	t.Parallel()
	for name, req := range map[string]driver.Request{
		"to an anonymous waiter": {Keys: []string{"k"}, Owner: "*", Wait: time.Minute},
		"to a named waiter":      {Keys: []string{"k"}, Owner: "me", Wait: time.Minute},
		"of several keys":        {Keys: []string{"k", "l"}, Owner: "me", Wait: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			seen := r.grants()
			g := r.take("*", 0, "k")
			own := r.ask(req)
			r.inLine("k", 1)
			r.free(g)
			g = granted(t, own, 300*time.Millisecond, "the waiter of the same process")
			if told := seen(); len(told) != 0 {
				t.Errorf("published were %q", told)
			}

			other := r.another()
			if req.Owner != "*" {
				req.Owner = "you"
			}
			theirs := other.ask(req)
			r.inLine("k", 1)
			r.free(g)
			granted(t, theirs, 300*time.Millisecond, "the waiter of another process")
			if told := seen(); len(told) != 1 {
				t.Errorf("published were %q, one grant was to be", told)
			}
		})
	}
}

// The answer has the grant, and is lost.
func TestAGrantInAnAnswerThatIsLostComesWithinATick(t *testing.T) {
	t.Parallel()
	for name, owner := range map[string]string{"to an anonymous waiter": "*", "to a named waiter": "me"} {
		t.Run(name, func(t *testing.T) {
			r, w := newWiredRig(t)
			g := r.take("holder", 0, "k")
			got := r.ask(driver.Request{Keys: []string{"k"}, Owner: owner, TTL: time.Minute, Wait: time.Minute})
			r.waitsFor(w, "k")
			lost := w.lose("\r\nholder\r\n")
			began := time.Now()
			r.free(g)
			lost.happens(t)
			r.free(granted(t, got, 1500*time.Millisecond, "the waiter"))
			t.Logf("granted after %s", time.Since(began))
		})
	}
}

// The waiter does not know yet that it waits when everything that waits is stated
// again: its answer comes later.
func TestAGrantThatWasLostBeforeItsRequestWasAnsweredComesWithinATick(t *testing.T) {
	t.Parallel()
	r, w := newWiredRig(t)
	r.take("x", 0, "busy")
	g := r.take("holder", 0, "k")
	r.ask(driver.Request{Keys: []string{"busy"}, Owner: "witness", Wait: time.Minute})
	r.waitsFor(w, "busy")
	slow := w.slowAnswer(t, "medusa_lock:k")
	got := r.ask(driver.Request{Keys: []string{"k"}, Owner: "*", TTL: time.Minute, Wait: time.Minute})
	slow.happens(t)
	lost, stated := w.lose("\r\nholder\r\n"), w.holdBack(t, "witness")
	r.free(g)
	lost.happens(t)
	stated.happens(t)
	close(slow.let)
	stated.goOn(t)
	r.free(granted(t, got, 1500*time.Millisecond, "the waiter"))
}

// One whose answer was lost is sent again, and finds what it has freed in other hands.
func TestAReleaseThatIsSentAgainFreesNothingOfTheNext(t *testing.T) {
	t.Parallel()
	r, w := newWiredRig(t)
	g := r.take("*", 0, "k")
	got := r.ask(driver.Request{Keys: []string{"k"}, Owner: "*", Wait: time.Minute})
	r.waitsFor(w, "k")
	lost := w.lose("medusa_lock:k")
	r.free(g)
	lost.happens(t)
	next := granted(t, got, 1500*time.Millisecond, "the waiter")
	r.busy("*", "k")
	r.free(next)
}

func TestAGrantInAnAnswerThatTheReleasersContextDidNotWaitForComesWithinATick(t *testing.T) {
	t.Parallel()
	r, w := newWiredRig(t)
	g := r.take("holder", 0, "k")
	got := r.ask(driver.Request{Keys: []string{"k"}, Owner: "*", TTL: time.Minute, Wait: time.Minute})
	r.waitsFor(w, "k")
	slow := w.slowAnswer(t, "\r\nholder\r\n")
	ctx, cancel := context.WithTimeout(bg, 200*time.Millisecond)
	defer cancel()
	if _, err := r.Release(ctx, []driver.Hold{g.Holds[0].Hold}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the release: %v, its context's end was to be", err)
	}
	slow.happens(t)
	r.free(granted(t, got, 1500*time.Millisecond, "the waiter"))
}
