package lockingtest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
)

func ownerCases() []serviceCase {
	bg := context.Background()
	return []serviceCase{
		{"a lock without an owner is not re-entrant", func(_ *testing.T, b *bench) {
			b.take(bg, b.keys("k"))
			_, err := b.locks.TryAcquire(bg, b.keys("k"))
			b.want(err, locking.ErrNotAcquired)
		}},
		{"a failed acquire says which key in Medusa's words", func(t *testing.T, b *bench) {
			b.take(bg, b.keys("b"))
			_, err := b.locks.TryAcquire(bg, b.keys("a", "b"))
			if err == nil || !strings.Contains(err.Error(), "Failed to acquire lock for key \""+b.key("b")+"\"") {
				t.Fatalf("got %v", err)
			}
		}},
		{"a named owner acquires its lock again with the same token", func(t *testing.T, b *bench) {
			first := b.take(bg, b.keys("k"), locking.WithOwner("me"))
			second := b.take(bg, b.keys("k"), locking.WithOwner("me"))
			if first.Token(b.key("k")) != second.Token(b.key("k")) || first.Token(b.key("k")) == 0 {
				t.Fatalf("tokens %d and %d", first.Token(b.key("k")), second.Token(b.key("k")))
			}
			_, err := b.locks.TryAcquire(bg, b.keys("k"), locking.WithOwner("you"))
			b.want(err, locking.ErrNotAcquired)
		}},
		{"handles that joined are counted and the last gives the lock back", func(_ *testing.T, b *bench) {
			first := b.take(bg, b.keys("k"), locking.WithOwner("me"))
			second := b.take(bg, b.keys("k"), locking.WithOwner("me"))
			b.release(first)
			b.held(b.key("k"))
			b.release(second)
			b.free(b.key("k"))
		}},
		{"release without an owner never frees a named owner's lock", func(t *testing.T, b *bench) {
			b.take(bg, b.keys("k"), locking.WithOwner("me"))
			if ok, err := b.locks.Release(bg, b.keys("k")); ok || err != nil {
				t.Fatalf("got %t, %v", ok, err)
			}
			b.held(b.key("k"))
		}},
		{"release by another owner frees nothing", func(t *testing.T, b *bench) {
			b.take(bg, b.keys("k"), locking.WithOwner("me"))
			if ok, err := b.locks.Release(bg, b.keys("k"), locking.WithOwner("you")); ok || err != nil {
				t.Fatalf("got %t, %v", ok, err)
			}
			b.held(b.key("k"))
		}},
		{"release by name frees at once whatever handles there are", func(t *testing.T, b *bench) {
			first := b.take(bg, b.keys("k"), locking.WithOwner("me"))
			second := b.take(bg, b.keys("k"), locking.WithOwner("me"))
			if ok, err := b.locks.Release(bg, b.keys("k"), locking.WithOwner("me")); !ok || err != nil {
				t.Fatalf("got %t, %v", ok, err)
			}
			b.want(b.ends(first.Context()), locking.ErrLockReleased)
			b.want(b.ends(second.Context()), locking.ErrLockReleased)
			b.free(b.key("k"))
			b.release(first) // already released: no error
		}},
		{"release of several keys is true only when all were held", func(t *testing.T, b *bench) {
			b.take(bg, b.keys("a"))
			if ok, err := b.locks.Release(bg, b.keys("a", "b")); ok || err != nil {
				t.Fatalf("got %t, %v", ok, err)
			}
			b.free(b.key("a"))
		}},
		{"release all frees one owner's locks and no other's", func(t *testing.T, b *bench) {
			me, you := "me "+b.prefix, "you "+b.prefix
			b.take(bg, b.keys("a", "b"), locking.WithOwner(me))
			b.take(bg, b.keys("c"), locking.WithOwner(you))
			if n, err := b.locks.ReleaseAll(bg, locking.WithOwner(me)); n != 2 || err != nil {
				t.Fatalf("got %d, %v", n, err)
			}
			b.free(b.key("a"))
			b.held(b.key("c"))
		}},
		{"owners that mark executions, jobs or no owner are refused", func(_ *testing.T, b *bench) {
			for _, owner := range []string{"", "*", "lockstep:x", "execute:x"} {
				_, err := b.locks.TryAcquire(bg, b.keys("k"), locking.WithOwner(owner))
				b.want(err, locking.ErrInvalid)
			}
			b.free(b.key("k"))
		}},
		{"no keys an empty key and a key over the limit are refused", func(_ *testing.T, b *bench) {
			for _, keys := range [][]string{nil, {""}, {"a", ""}, {strings.Repeat("x", locking.DefaultMaxKeyBytes+1)}} {
				_, err := b.locks.TryAcquire(bg, keys)
				b.want(err, locking.ErrInvalid)
			}
		}},
		{"keys may hold any bytes", func(t *testing.T, b *bench) {
			for _, k := range []string{"a{b}c", "}x{", "{}", ":::", "\x00\xff", "a\nb c\"", "{" + b.prefix, strings.Repeat("k", locking.DefaultMaxKeyBytes-len(b.prefix))} {
				lock := b.take(bg, b.keys(k))
				b.held(b.key(k))
				if lock.Token(b.key(k)) == 0 {
					t.Fatalf("no token for %.20q", k)
				}
				b.release(lock)
				b.free(b.key(k))
			}
		}},
		{"an expiry frees the lock and ends its context", func(_ *testing.T, b *bench) {
			lock := b.take(bg, b.keys("k"), locking.Expire(80*time.Millisecond))
			b.want(b.ends(lock.Context()), locking.ErrLockLost)
			next, err := b.locks.Acquire(bg, b.keys("k"), locking.Wait(bound))
			b.want(err, nil)
			b.want(lock.Release(bg), locking.ErrLockLost)
			b.held(b.key("k"))
			b.release(next)
		}},
		{"acquiring again without an expiry keeps the one there is", func(_ *testing.T, b *bench) {
			b.take(bg, b.keys("k"), locking.WithOwner("me"), locking.Expire(300*time.Millisecond))
			again := b.take(bg, b.keys("k"), locking.WithOwner("me"))
			b.want(b.ends(again.Context()), locking.ErrLockLost)
			next, err := b.locks.Acquire(bg, b.keys("k"), locking.Wait(bound))
			b.want(err, nil)
			b.release(next)
		}},
		{"acquiring again never shortens a lock without expiry", func(_ *testing.T, b *bench) {
			b.take(bg, b.keys("k"), locking.WithOwner("me"))
			b.take(bg, b.keys("k"), locking.WithOwner("me"), locking.Expire(20*time.Millisecond))
			_, err := b.locks.Acquire(bg, b.keys("k"), locking.Wait(200*time.Millisecond))
			b.want(err, locking.ErrTimeout)
		}},
		{"an expiry under a millisecond is refused", func(_ *testing.T, b *bench) {
			_, err := b.locks.TryAcquire(bg, b.keys("k"), locking.Expire(time.Microsecond))
			b.want(err, locking.ErrInvalid)
		}},
	}
}
