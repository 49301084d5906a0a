package lockredis_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// The request and its end go by two connections, and the first one is slower.
func TestARequestThatComesAfterItsEndIsRefused(t *testing.T) {
	t.Parallel()
	for name, req := range map[string]driver.Request{
		"of a free key":                   {Keys: []string{"free"}, Wait: driver.NoWait},
		"of two keys":                     {Keys: []string{"free", "other"}, Wait: driver.NoWait},
		"that waits":                      {Keys: []string{"busy"}, Wait: time.Minute},
		"that waits for two keys":         {Keys: []string{"busy", "free"}, Wait: time.Minute},
		"with an owner that is anonymous": {Keys: []string{"free"}, Owner: "*", Wait: driver.NoWait},
	} {
		t.Run(name, func(t *testing.T) {
			r, w := newWiredRig(t)
			r.take("holder", 0, "busy")
			if req.Owner == "" {
				req.Owner = "gone"
			}
			late := w.holdBack(t, "medusa_lock:"+req.Keys[0])
			ctx, cancel := context.WithTimeout(bg, 100*time.Millisecond)
			defer cancel()
			if _, err := r.Acquire(ctx, req); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("got %v", err)
			}
			late.happens(t)
			redistest.Eventually(t, 5*time.Second, func() string {
				if len(r.redis.Keys(bg, hubName("x:*")).Val()) == 0 {
					return "the server has not heard of the request's end"
				}
				return ""
			})
			late.goOn(t)
			for _, k := range req.Keys {
				if n := r.redis.ZCard(bg, queueName(k)).Val(); n != 0 {
					t.Errorf("%d wait for %q", n, k)
				}
				if v := r.redis.Get(bg, "medusa_lock:"+k).Val(); v == req.Owner {
					t.Errorf("%q is held by a request that was given up", k)
				}
			}
		})
	}
}

func TestARequestThatEndsWithoutAnAnswerLeavesWhatAnotherOneJoined(t *testing.T) {
	t.Parallel()
	r, w := newWiredRig(t)
	lost := w.swallow("medusa_lock:k")
	ctx, cancel := context.WithTimeout(bg, 500*time.Millisecond)
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		_, err := r.Acquire(ctx, driver.Request{Keys: []string{"k"}, Owner: "me", Wait: driver.NoWait})
		failed <- err
	}()
	lost.happens(t)
	joined := r.take("me", 0, "k")
	if err := <-failed; !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v; no answer should have come", err)
	}
	r.busy("you", "k")
	r.free(joined)
}

// The ends of the requests cannot be said while the server is out of reach.
func TestRequestsThatEndedDuringAPartitionAreOfferedNothing(t *testing.T) {
	t.Parallel()
	near := newRig(t)
	w := newWire(t, near.server)
	far := near.at(lockredis.Config{RedisURL: w.url()})
	g := near.take("x", 0, "k")
	near.take("x", 0, "busy")
	far.ask(driver.Request{Keys: []string{"busy"}, Owner: "long", Wait: time.Minute}) // its process lives on
	near.inLine("busy", 1)
	var ended []<-chan outcome
	for i := range 5 {
		ended = append(ended, far.ask(driver.Request{Keys: []string{"k"}, Owner: fmt.Sprint("w", i), Wait: 300 * time.Millisecond}))
	}
	near.inLine("k", 5)
	w.sever()
	for _, got := range ended {
		if o := asked(t, got, 10*time.Second, "a request whose time is up"); !errors.Is(o.err, driver.ErrTimeout) {
			t.Errorf("got %v", o.err)
		}
	}
	w.mend()
	near.inLine("k", 0)
	near.free(g)
	near.take("next", 0, "k")
}

func TestAnOwnerThatHoldsNothingHasNoList(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.take("me", 0, "a")
	r.take("me", 50*time.Millisecond, "b")
	r.free(a)
	redistest.Eventually(t, 5*time.Second, func() string {
		if v := r.redis.ZRange(bg, hubName("o:me"), 0, -1).Val(); len(v) > 0 {
			return fmt.Sprintf("the owner's list has %q, and lives %s", v, r.redis.PTTL(bg, hubName("o:me")).Val())
		}
		return ""
	})
}

// A request whose answer does not come is sent again by another connection. Its first
// copy may be on its way still when the request has ended.
func TestARequestThatWasSentTwiceEndsWithBothItsCopies(t *testing.T) {
	t.Parallel()
	for name, req := range map[string]driver.Request{
		"that waits":              {Keys: []string{"busy"}, Owner: "*", Wait: time.Minute},
		"that waits for two keys": {Keys: []string{"busy", "free"}, Owner: "me", Wait: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, w := newWiredRig(t)
			held := r.take("holder", 0, "busy")
			late := w.holdBack(t, "medusa_lock:busy")
			ctx, cancel := context.WithCancel(bg)
			defer cancel()
			ended := make(chan error, 1)
			go func() {
				_, err := r.Acquire(ctx, req)
				ended <- err
			}()
			late.happens(t)
			r.inLine("busy", 1) // by its second copy
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v", err)
			}
			r.inLine("busy", 0)
			late.goOn(t)
			for _, k := range req.Keys {
				if n := r.redis.ZCard(bg, queueName(k)).Val(); n != 0 {
					t.Errorf("%d wait for %q", n, k)
				}
			}
			r.free(held)
			r.take("next", 0, req.Keys...)
		})
	}
}

func TestOneCopyOfARequestIsAnsweredAndTheOtherTakesNothing(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]time.Duration{"without waiting": driver.NoWait, "with a wait": time.Minute} {
		t.Run("granted "+name, func(t *testing.T) {
			t.Parallel()
			r, w := newWiredRig(t)
			late := w.holdBack(t, "medusa_lock:k")
			got := r.ask(driver.Request{Keys: []string{"k"}, Owner: "*", Wait: wait})
			late.happens(t)
			r.free(granted(t, got, 10*time.Second, "the second copy"))
			late.goOn(t)
			r.becomesFree("k")
		})
	}
	t.Run("granted after a wait", func(t *testing.T) {
		t.Parallel()
		r, w := newWiredRig(t)
		held := r.take("holder", 0, "k")
		late := w.holdBack(t, "medusa_lock:k")
		got := r.ask(driver.Request{Keys: []string{"k"}, Owner: "me", Wait: time.Minute})
		late.happens(t)
		r.inLine("k", 1)
		r.free(held)
		r.free(granted(t, got, 5*time.Second, "the second copy"))
		late.goOn(t)
		r.becomesFree("k")
	})
	t.Run("busy", func(t *testing.T) {
		t.Parallel()
		r, w := newWiredRig(t)
		held := r.take("holder", 0, "k")
		late := w.holdBack(t, "medusa_lock:k")
		got := r.ask(try("*", "k"))
		late.happens(t)
		if o := asked(t, got, 10*time.Second, "the second copy"); !errors.Is(o.err, driver.ErrBusy) {
			t.Fatalf("got %+v, %v", o.grant, o.err)
		}
		r.free(held)
		late.goOn(t)
		r.becomesFree("k")
	})
}

// becomesFree waits, for less than an offer lives, until nobody holds a key or waits for it.
func (r *rig) becomesFree(key string) {
	r.t.Helper()
	redistest.Eventually(r.t, 1500*time.Millisecond, func() string {
		if owner := r.redis.Get(bg, "medusa_lock:"+key).Val(); owner != "" {
			return fmt.Sprintf("%q is held by %q", key, owner)
		}
		return ""
	})
	r.inLine(key, 0)
}

// On a cluster the slots are taken one after the other: the first one may have been asked
// twice.
func TestARequestThatWasSentTwiceInOneSlotEndsThereWithTheOthers(t *testing.T) {
	t.Parallel()
	near := clusterRig(t)
	first, second := inSlotOrder()
	near.take("x", 0, second)
	w := newWire(t, near.server)
	// A client that knows the cluster would ask the server past the wire.
	client := redis.NewClient(&redis.Options{Addr: w.listener.Addr().String(), MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	far := near.at(lockredis.Config{Client: client})
	late := w.holdBack(t, "medusa_lock:"+first)
	_, err := far.Acquire(bg, driver.Request{Keys: []string{"a", "b"}, Owner: "*", Wait: 1500 * time.Millisecond})
	if !errors.Is(err, driver.ErrTimeout) {
		t.Fatalf("got %v", err)
	}
	late.goOn(t)
	if v := near.redis.Get(bg, "medusa_lock:"+first).Val(); v != "" {
		t.Errorf("%q is held by %q", first, v)
	}
}

func TestATicketThatIsCancelledAfterItsOfferHasLapsedLeavesNoRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ticket := driver.Ticket{ID: "t", Request: driver.Request{Keys: []string{"k"}, Owner: "o", TTL: time.Minute}}
	if place, err := r.Enqueue(bg, ticket); err != nil || !place.Offered {
		t.Fatalf("got %+v, %v", place, err)
	}
	r.lost("k") // as when its time is up
	if _, err := r.Cancel(bg, ticket); err != nil {
		t.Fatal(err)
	}
	if left := r.redis.HGetAll(bg, hubName("h")).Val(); len(left) > 0 {
		t.Errorf("left is %q", left)
	}
}

// unreachable fails the scripts that are called while a server is out of reach.
type unreachable struct {
	redis.Hook

	now atomic.Bool
}

func (h *unreachable) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *unreachable) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *unreachable) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if h.now.Load() && strings.HasPrefix(cmd.Name(), "eval") {
			cmd.SetErr(io.ErrUnexpectedEOF)
			return cmd.Err()
		}
		return next(ctx, cmd)
	}
}

func TestAProviderThatClosesSaysTheEndsThatCouldNotBeSaidBefore(t *testing.T) {
	t.Parallel()
	bystander := newRig(t)
	bystander.take("x", 0, "k")
	client, hook := redis.NewClient(&redis.Options{Addr: bystander.server.Addr()}), &unreachable{}
	t.Cleanup(func() { client.Close() })
	client.AddHook(hook)
	r := bystander.at(lockredis.Config{Client: client})
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := r.Acquire(ctx, driver.Request{Keys: []string{"k"}, Owner: "*", Wait: time.Minute})
		ended <- err
	}()
	r.inLine("k", 1)
	r.knowsOf(1)
	hook.now.Store(true)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if n := r.redis.ZCard(bg, queueName("k")).Val(); n != 1 {
		t.Fatalf("%d wait", n)
	}
	hook.now.Store(false)
	if err := r.Close(bg); err != nil {
		t.Fatal(err)
	}
	if n := r.redis.ZCard(bg, queueName("k")).Val(); n != 0 {
		t.Errorf("%d wait for ever", n)
	}
}
