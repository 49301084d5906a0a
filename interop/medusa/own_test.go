package medusa_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
)

// take is our Acquire that is no question.
func (b *both) take(key string, opts ...locking.AcquireOption) *locking.Lock {
	b.t.Helper()
	lock, err := b.locks.Acquire(bg, locking.Keys(key), opts...)
	if err != nil {
		b.t.Fatalf("we do not get %q: %v", key, err)
	}
	return lock
}

// free is our Release of a lock that is there.
func (b *both) free(lock *locking.Lock) {
	b.t.Helper()
	if err := lock.Release(bg); err != nil {
		b.t.Errorf("our release: %v", err)
	}
}

// lost is our Release of a lock that is gone.
func (b *both) lost(lock *locking.Lock) {
	b.t.Helper()
	if err := lock.Release(bg); !errors.Is(err, locking.ErrLockLost) {
		b.t.Errorf("our release of a lock that is gone answers %v", err)
	}
}

// refused is our TryAcquire of a key that this owner has.
func (b *both) refused(holder string, keys ...string) {
	b.t.Helper()
	lock, err := b.locks.TryAcquire(bg, keys)
	var busy *locking.NotAcquiredError
	if !errors.As(err, &busy) || busy.Holder != holder {
		b.t.Errorf("we try for what %q has, and get %+v, %v", holder, lock, err)
	}
}

// storeRefused is Medusa's acquire of a key that we have.
func (b *both) storeRefused(key string, args lockArgs) {
	b.t.Helper()
	err := b.store.acquire(key, args)
	var thrown *storeError
	if !errors.As(err, &thrown) || thrown.Type != "conflict" || thrown.Message != fmt.Sprintf("Failed to acquire lock for key %q", key) {
		b.t.Errorf("Medusa acquires what we have, and gets %v", err)
	}
}

// owner is who has a key, "" for nobody.
func (b *both) owner(key string) string { return b.redis.Get(bg, "medusa_lock:"+key).Val() }

// has checks who has a key; "" is nobody.
func (b *both) has(key, owner string) {
	b.t.Helper()
	if saw := b.owner(key); saw != owner {
		b.t.Errorf("%q has %q, not %q", saw, key, owner)
	}
}

// gone waits until nobody has a key any more.
func (b *both) gone(key string) {
	b.t.Helper()
	redistest.Eventually(b.t, patience, func() string { return b.owner(key) })
}

// request is an Acquire of ours that waits.
type request struct {
	lock *locking.Lock
	err  error
	at   time.Time
	done chan struct{}
}

// wait starts an Acquire, and returns when it stands in the queue.
func (b *both) wait(key string, opts ...locking.AcquireOption) *request {
	b.t.Helper()
	before := b.waiting(key)
	r := &request{done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.lock, r.err = b.locks.Acquire(bg, locking.Keys(key), append([]locking.AcquireOption{locking.Wait(patience)}, opts...)...)
		r.at = time.Now()
	}()
	redistest.Eventually(b.t, patience, func() string {
		if n := b.waiting(key); n <= before {
			return fmt.Sprintf("%d wait for %q", n, key)
		}
		return ""
	})
	return r
}

func (b *both) waiting(key string) int {
	b.t.Helper()
	state, err := b.locks.Inspect(bg, key)
	if err != nil {
		b.t.Fatal(err)
	}
	return state.Waiting
}

// granted is the lock that a waiting Acquire gets.
func (b *both) granted(r *request) *locking.Lock {
	b.t.Helper()
	select {
	case <-r.done:
	case <-time.After(patience):
		b.t.Fatalf("we got nothing within %s", patience)
	}
	if r.err != nil {
		b.t.Fatal(r.err)
	}
	return r.lock
}

// ends waits until our lock's context ends, and returns its cause.
func (b *both) ends(lock *locking.Lock) error {
	b.t.Helper()
	select {
	case <-lock.Context().Done():
		return context.Cause(lock.Context())
	case <-time.After(patience):
		b.t.Fatalf("our lock does not end within %s", patience)
		return nil
	}
}
