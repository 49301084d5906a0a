package medusa_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
)

func TestALockThatHasLapsedIsTheOtherSides(t *testing.T) {
	b := startBoth(t)
	b.rule("Medusa's, while we wait", func(b *both, key string) {
		b.store.take(key, lockArgs{Expire: 1})
		lapses := time.Now().Add(b.redis.PTTL(bg, "medusa_lock:"+key).Val())
		r := b.wait(key)
		b.free(b.granted(r))
		late := r.at.Sub(lapses)
		b.t.Logf("it was ours %s after it had lapsed", late)
		if late < -5*time.Millisecond || late > hiccup {
			b.t.Errorf("we had it %s after it lapsed", late)
		}
		if b.store.release(key, "") {
			b.t.Error("Medusa releases a lock that has lapsed")
		}
	})
	b.rule("ours, while Medusa waits", func(b *both, key string) {
		lock := b.take(key, locking.Expire(300*time.Millisecond))
		job := b.store.execute(key, lockArgs{Timeout: patience.Seconds()})
		b.store.runs(job)
		if lock.Context().Err() == nil {
			b.t.Error("our lock's context lives while Medusa's job runs")
		}
		if cause := b.ends(lock); !errors.Is(cause, locking.ErrLockLost) {
			b.t.Errorf("our lock ended by %v", cause)
		}
		b.lost(lock)
		if err := b.store.finish(job); err != nil {
			b.t.Error(err)
		}
	})
	b.rule("that of a store which was killed in a job", func(b *both, key string) {
		dying := startStore(b.t, b.server.URL(), "")
		job := dying.execute(key, lockArgs{Expire: 1})
		dying.runs(job)
		r := b.wait(key)
		dying.kill()
		killed := time.Now()
		b.free(b.granted(r))
		took := r.at.Sub(killed)
		b.t.Logf("it was ours %s after the store was killed; its lease is 1s", took)
		if took > time.Second+hiccup {
			b.t.Errorf("it took %s", took)
		}
	})
}

func TestTheLockOfAJobIsRenewedOnBothSides(t *testing.T) {
	b := startBoth(t)
	b.rule("Medusa's job keeps us out for longer than its lease", func(b *both, key string) {
		job := b.store.execute(key, lockArgs{Expire: 1})
		b.store.runs(job)
		_, err := b.locks.Acquire(bg, locking.Keys(key), locking.Wait(2500*time.Millisecond))
		if !errors.Is(err, locking.ErrTimeout) {
			b.t.Errorf("got %v", err)
		}
		if err := b.store.finish(job); err != nil {
			b.t.Error(err)
		}
	})
	b.rule("our job keeps Medusa out for longer than its lease", func(b *both, key string) {
		err := b.locks.Execute(bg, locking.Keys(key), func(ctx context.Context) error {
			if _, err := b.store.ask("execute", lockRequest{[]string{key}, lockArgs{Timeout: 3}}); err == nil || err.Error() != timedOut+" (conflict)" {
				b.t.Errorf("Medusa got %v", err)
			}
			return ctx.Err()
		}, locking.Expire(time.Second))
		if err != nil {
			b.t.Error(err)
		}
	})
}

func TestAJobWhoseLockWasTakenByForceIsToldOnBothSides(t *testing.T) {
	b := startBoth(t)
	b.rule("Medusa's, at its next renewal", func(b *both, key string) {
		job := b.store.execute(key, lockArgs{Expire: 1})
		b.store.runs(job)
		had, err := b.locks.ForceRelease(bg, key, b.owner(key), 0, "its host has burnt down", locking.Now())
		if err != nil || !had {
			b.t.Fatalf("got %t, %v", had, err)
		}
		b.store.within(job.aborted, "the signal of a job to be aborted")
		var thrown *storeError
		if err := b.store.finish(job); !errors.As(err, &thrown) || thrown.Type != "conflict" {
			b.t.Errorf("the job ends with %v", err)
		}
	})
	b.rule("ours, when the string was deleted, at its next renewal", func(b *both, key string) {
		err := b.locks.Execute(bg, locking.Keys(key), func(ctx context.Context) error {
			b.redis.Del(bg, "medusa_lock:"+key)
			b.store.take(key, lockArgs{})
			select {
			case <-ctx.Done():
			case <-time.After(patience):
				b.t.Error("our job's context lives")
			}
			return nil
		}, locking.Expire(time.Second))
		if !errors.Is(err, locking.ErrLockLost) {
			b.t.Errorf("our job ends with %v", err)
		}
		b.has(key, "*")
		if !b.store.release(key, "") {
			b.t.Error("our job has released Medusa's lock")
		}
	})
}

// An anonymous lock has "*" for its owner on both sides. Lockstep tells its own apart
// by what it recorded beside it: the expiry to the millisecond. Medusa does not.
func TestALapsedAnonymousHandle(t *testing.T) {
	b := startBoth(t)
	const short = 100 * time.Millisecond
	for name, args := range map[string]lockArgs{"without": {}, "with": {Expire: 60}} {
		b.rule("of ours leaves Medusa's lock alone, "+name+" expiry", func(b *both, key string) {
			lock := b.take(key, locking.Expire(short))
			b.gone(key)
			b.store.take(key, args)
			b.lost(lock)
			b.has(key, "*")
			if err := lock.Extend(bg, time.Minute); err == nil {
				b.t.Error("it can be extended")
			}
			if !b.store.release(key, "") {
				b.t.Error("Medusa has lost its lock")
			}
		})
	}
	// This is what Medusa does: a core-flow that takes longer than the ttl of its lock
	// releases the lock of the next holder. Our handle learns it.
	b.rule("of Medusa's releases an anonymous lock of ours", func(b *both, key string) {
		b.store.take(key, lockArgs{Expire: 1})
		lock := b.granted(b.wait(key))
		if !b.store.release(key, "") {
			b.t.Fatal("Medusa has learnt to tell: say so in docs/medusa.md")
		}
		b.has(key, "")
		b.lost(lock)
	})
	b.rule("of Medusa's leaves a lock of ours alone that has an owner, and those of jobs", func(b *both, key string) {
		b.store.take(key, lockArgs{Expire: 1})
		lock := b.granted(b.wait(key, locking.WithOwner("ours")))
		if b.store.release(key, "") {
			b.t.Error("Medusa has released it")
		}
		b.free(lock)
		b.store.take(key, lockArgs{Expire: 1})
		err := b.locks.Execute(bg, locking.Keys(key), func(ctx context.Context) error {
			if b.store.release(key, "") {
				b.t.Error("Medusa has released it")
			}
			return ctx.Err()
		}, locking.Wait(patience))
		if err != nil {
			b.t.Error(err)
		}
	})
	// A lock without expiry has nothing beside the owner that could tell them apart.
	b.rule("of ours without expiry cannot be told from Medusa's", func(b *both, key string) {
		lock := b.take(key)
		if !b.store.release(key, "") { // behind its back
			b.t.Fatal("Medusa cannot release it")
		}
		b.store.take(key, lockArgs{})
		b.free(lock)
		b.has(key, "") // and Medusa's is gone
	})
	b.rule("of ours, with expiry, that waiters stand behind, is noticed", func(b *both, key string) {
		lock := b.take(key, locking.Expire(short))
		b.gone(key)
		b.store.take(key, lockArgs{})
		r := b.wait(key)
		b.lost(lock)
		b.has(key, "*")
		redistest.Eventually(b.t, patience, func() string {
			if b.waiting(key) != 1 {
				return "nobody waits"
			}
			return ""
		})
		b.store.release(key, "")
		b.free(b.granted(r))
	})
}
