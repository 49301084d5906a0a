package lockredis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// pausedTTL is for how long the process holds its lock that is stopped.
const pausedTTL = time.Second

// writeFenced holds a lock for a fixed time, and writes behind its fence all the time,
// not caring whether the lock has ended. When it may write no more it tries to release
// and to extend the lock, by its handle and at the provider.
func (c child) writeFenced() {
	s := c.service()
	lock, err := s.Acquire(bg, locking.Keys("k"), locking.WithOwner("paused"), locking.Expire(pausedTTL))
	c.must(err)
	token := lock.Token("k")
	opts, err := redis.ParseURL(c.url)
	c.must(err)
	client := redis.NewClient(opts)
	fence := lockredis.Fence{Client: client}
	go func() {
		<-lock.Context().Done()
		c.say("ended", errors.Is(context.Cause(lock.Context()), locking.ErrLockLost))
	}()
	write := func() error {
		_, err := fence.Write(bg, "data", token, lockredis.Cmd("SET", "data", "by the paused"))
		return err
	}
	c.must(write())
	c.say("held", uint64(token))
	for err = nil; err == nil; err = write() {
		time.Sleep(time.Millisecond) // the server has others to serve
	}
	c.say("refused", errors.Is(err, lockredis.ErrStaleToken))
	c.hear()
	c.say("extended", errors.Is(lock.Extend(bg, time.Minute), locking.ErrLockLost))
	c.say("released", errors.Is(lock.Release(bg), locking.ErrLockLost))
	p, err := s.Provider("")
	c.must(err)
	hold := []driver.Hold{{Key: "k", Owner: "paused", Token: token}}
	extended, err := p.Extend(bg, time.Minute, hold)
	c.must(err)
	c.say("extended", !extended[0].Held)
	released, err := p.Release(bg, hold)
	c.must(err)
	c.say("released", !released[0])
	c.rest()
}

// writeRenewing is a job with a lease that is renewed; it goes on until its context ends.
func (c child) writeRenewing() {
	err := c.service().Execute(bg, locking.Keys("k"), func(ctx context.Context) error {
		c.say("held")
		<-ctx.Done()
		c.say("ended", errors.Is(context.Cause(ctx), locking.ErrLockLost))
		return nil
	}, locking.Expire(pausedTTL))
	c.say("released", errors.Is(err, locking.ErrLockLost))
	c.rest()
}

func TestAHolderThatIsStoppedPastItsTTLNeverWritesAfterTheNextHolder(t *testing.T) {
	r := newRig(t)
	paused := startProcess(t, r.server, "write fenced")
	paused.expect("held", 10*time.Second)
	paused.stop()
	next, err := r.Acquire(bg, driver.Request{Keys: []string{"k"}, Owner: "next", TTL: time.Minute, Wait: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	fence := lockredis.Fence{Client: r.redis}
	mustWrite(t, fence, "data", next.Holds[0].Token, lockredis.Cmd("SET", "data", "by the next"))
	goneOn := time.Now()
	paused.goOn()

	// The write that was under way and the end of the context come in any order.
	var said []string
	for range 2 {
		select {
		case s := <-paused.said:
			if strings.HasPrefix(s.what, "ended") {
				within(t, "the end of the lock's context after SIGCONT", s.at.Sub(goneOn), 50*time.Millisecond)
			}
			said = append(said, s.what)
		case <-time.After(10 * time.Second):
			t.Fatalf("said was only %q", said)
		}
	}
	slices.Sort(said)
	paused.tell("go on")
	for _, want := range []string{"extended", "released", "extended", "released"} {
		said = append(said, want+" "+paused.expect(want, 10*time.Second).what)
	}
	if want := []string{"ended true", "refused true", "extended true", "released true", "extended true", "released true"}; !slices.Equal(said, want) {
		t.Errorf("said is %q; each was to be refused: %q", said, want)
	}
	if v := r.redis.Get(bg, "data").Val(); v != "by the next" {
		t.Errorf("written is %q", v)
	}
	r.free(next)
}

func TestTheContextOfAJobThatWasStoppedPastItsLeaseEndsWithin50msOfGoingOn(t *testing.T) {
	r := newRig(t)
	paused := startProcess(t, r.server, "write renewing")
	paused.expect("held", 10*time.Second)
	first := r.lapses("k")
	redistest.Eventually(t, 10*time.Second, func() string {
		if now := r.lapses("k"); !now.After(first.Add(pausedTTL / 2)) {
			return fmt.Sprintf("it lapses at %s, and did at %s", now, first)
		}
		return ""
	})
	paused.stop()
	next, err := r.Acquire(bg, driver.Request{Keys: []string{"k"}, Owner: "next", TTL: time.Minute, Wait: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	goneOn := time.Now()
	paused.goOn()
	ended := paused.expect("ended", 10*time.Second)
	within(t, "the end of the job's context after SIGCONT", ended.at.Sub(goneOn), 50*time.Millisecond)
	if released := paused.expect("released", 10*time.Second); ended.what != "true" || released.what != "true" {
		t.Errorf("the context ended with ErrLockLost: %s; so did Execute: %s", ended.what, released.what)
	}
	if s, err := r.Inspect(bg, "k", 0); err != nil || s.Owner != "next" || s.Token != next.Holds[0].Token {
		t.Errorf("held by %q with %d, %v", s.Owner, s.Token, err)
	}
	r.free(next)
}
