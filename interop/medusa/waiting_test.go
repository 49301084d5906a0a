package medusa_test

import (
	"errors"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

func TestEachSideWaitsForTheOther(t *testing.T) {
	b := startBoth(t)
	b.rule("we are told when Medusa releases", func(b *both, key string) {
		best := time.Hour
		for range 5 { // one may meet a tick
			b.store.take(key, lockArgs{})
			r := b.wait(key)
			began := time.Now()
			if !b.store.release(key, "") {
				b.t.Error("Medusa has lost its lock")
			}
			b.free(b.granted(r))
			best = min(best, r.at.Sub(began))
		}
		b.t.Logf("the soonest of five was ours %s after Medusa was asked to release; a tick is %s", best, ourTick)
		if best > atOnce {
			b.t.Errorf("nothing was pushed: the soonest took %s", best)
		}
	})
	b.rule("we are told when Medusa's job ends", func(b *both, key string) {
		job := b.store.execute(key, lockArgs{})
		b.store.runs(job)
		r := b.wait(key)
		if err := b.store.finish(job); err != nil {
			b.t.Error(err)
		}
		b.free(b.granted(r))
	})
	b.rule("all of ours that wait for Medusa are served, in their order", func(b *both, key string) {
		b.store.take(key, lockArgs{})
		first, second, third := b.wait(key), b.wait(key), b.wait(key)
		b.store.release(key, "")
		one := b.granted(first)
		b.free(one)
		two := b.granted(second)
		b.free(two)
		three := b.granted(third)
		b.free(three)
		if one.Token(key) >= two.Token(key) || two.Token(key) >= three.Token(key) {
			b.t.Errorf("tokens %d, %d, %d", one.Token(key), two.Token(key), three.Token(key))
		}
	})
	b.rule("Medusa's job runs within its retry interval of our release", func(b *both, key string) {
		lock := b.take(key)
		job := b.store.execute(key, lockArgs{Timeout: patience.Seconds()})
		b.asked()
		began := time.Now()
		b.free(lock)
		b.store.runs(job)
		took := time.Since(began)
		b.t.Logf("Medusa had it %s after our release; it polls at least every %s", took, storeRetry)
		if took > storeRetry+hiccup {
			b.t.Errorf("Medusa had it only %s after our release", took)
		}
		if err := b.store.finish(job); err != nil {
			b.t.Error(err)
		}
	})
	b.rule("Medusa's acquire with awaitQueue gets what we release", func(b *both, key string) {
		lock := b.take(key)
		waits := b.store.send("acquire", lockRequest{[]string{key}, lockArgs{Owner: "theirs", AwaitQueue: true}})
		b.asked()
		select {
		case <-waits.done:
			b.t.Fatalf("it did not wait: %v", waits.err)
		default:
		}
		b.free(lock)
		b.store.within(waits.done, "acquire with awaitQueue")
		b.has(key, "theirs")
		b.store.release(key, "theirs")
	})
	b.rule("Medusa's job gives up after its timeout", func(b *both, key string) {
		lock := b.take(key)
		_, err := b.store.ask("execute", lockRequest{[]string{key}, lockArgs{Timeout: 1}})
		var thrown *storeError
		if !errors.As(err, &thrown) || thrown.Type != "conflict" || thrown.Message != timedOut {
			b.t.Errorf("got %v", err)
		}
		b.free(lock)
		b.has(key, "")
	})
	b.rule("we give up after ours, with the same words", func(b *both, key string) {
		b.store.take(key, lockArgs{})
		if _, err := b.locks.Acquire(bg, locking.Keys(key), locking.Wait(50*time.Millisecond)); !errors.Is(err, locking.ErrTimeout) {
			b.t.Errorf("got %v", err)
		}
		b.has(key, "*")
		b.store.release(key, "")
	})
}

// asked waits until Medusa has looked at a key that it was sent a request for: it sends its
// commands in order, over one connection.
func (b *both) asked() {
	b.t.Helper()
	if b.store.release("nobody's", "") {
		b.t.Error("Medusa releases what nobody has")
	}
}

func TestWhereTheServerDoesNotPushWeLookAtEachTick(t *testing.T) {
	b := startBoth(t)
	b.locks = b.serviceThatIsNotPushed()
	const key = "prod_123"
	best := time.Hour
	for range 3 {
		b.store.take(key, lockArgs{})
		r := b.wait(key)
		began := time.Now()
		b.store.release(key, "")
		b.free(b.granted(r))
		took := r.at.Sub(began)
		best = min(best, took)
		if took > ourTick+hiccup {
			t.Errorf("it took %s; a tick is %s", took, ourTick)
		}
	}
	t.Logf("the soonest of three took %s; a tick is %s", best, ourTick)
}

// serviceThatIsNotPushed is one whose user may not have the server track keys.
func (b *both) serviceThatIsNotPushed() *locking.Service {
	b.t.Helper()
	if err := b.redis.Do(bg, "ACL", "SETUSER", "ours", "on", ">secret", "~*", "&*", "+@all", "-client|tracking").Err(); err != nil {
		b.t.Fatal(err)
	}
	return startService(b.t, lockredis.Config{RedisURL: "redis://ours:secret@" + b.server.Addr()})
}
