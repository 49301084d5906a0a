package medusa_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
)

// Medusa's releaseAll scans its namespace, reads every key and unlinks those whose value
// is the owner, "*" unless one is named. So it knows nothing of whose process took a lock.
func TestMedusasReleaseAll(t *testing.T) {
	b := startBoth(t)
	b.rule("leaves our named locks and our jobs alone", func(b *both, key string) {
		named := b.take(key, locking.WithOwner("ours"))
		b.store.take(key+" theirs", lockArgs{})
		err := b.locks.Execute(bg, locking.Keys(key+" job"), func(ctx context.Context) error {
			b.store.releaseAll("")
			b.store.releaseAll("theirs")
			return ctx.Err()
		})
		if err != nil {
			b.t.Errorf("our job: %v", err)
		}
		b.has(key+" theirs", "")
		b.free(named)
	})
	b.rule("frees our anonymous locks, and our handles learn it", func(b *both, key string) {
		lock := b.take(key)
		expiring := b.take(key+" 2", locking.Expire(patience))
		b.store.releaseAll("")
		b.has(key, "")
		b.has(key+" 2", "")
		b.lost(lock)
		b.lost(expiring)
	})
	b.rule("of an owner frees what we took as that owner", func(b *both, key string) {
		lock := b.take(key, locking.WithOwner("erp"))
		other := b.take(key+" 2", locking.WithOwner("crm"))
		b.store.releaseAll("erp")
		b.has(key, "")
		b.lost(lock)
		b.free(other)
	})
	b.rule("serves ours that wait", func(b *both, key string) {
		b.store.take(key, lockArgs{})
		r := b.wait(key)
		b.store.releaseAll("")
		b.free(b.granted(r))
	})
	b.rule("touches nothing but locks", func(b *both, key string) {
		lock := b.take(key, locking.WithOwner("ours"))
		waits := b.wait(key, locking.WithOwner("next"))
		before := b.redis.Keys(bg, "*").Val()
		for _, name := range b.redis.Keys(bg, "medusa_lock:*").Val() {
			if name != "medusa_lock:"+key {
				b.t.Errorf("%q is in Medusa's namespace, and is no lock", name)
			}
		}
		b.store.releaseAll("")
		if after := b.redis.Keys(bg, "*").Val(); len(after) < len(before) {
			b.t.Errorf("of\n%s\nthere is left\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
		}
		b.free(lock)
		b.free(b.granted(waits))
	})
}

func TestOurReleaseAll(t *testing.T) {
	b := startBoth(t)
	all := func(b *both, want int, opts ...locking.ReleaseOption) {
		b.t.Helper()
		if n, err := b.locks.ReleaseAll(bg, opts...); n != want || err != nil {
			b.t.Errorf("got %d, %v, want %d", n, err, want)
		}
	}
	b.rule("leaves Medusa's locks alone, whoever their owner is", func(b *both, key string) {
		b.store.take(key+" anonymous", lockArgs{})
		b.store.take(key+" named", lockArgs{Owner: "erp"})
		b.take(key + " ours")
		b.take(key+" ours too", locking.WithOwner("erp"))
		all(b, 1)
		all(b, 1, locking.WithOwner("erp"))
		if !b.store.release(key+" anonymous", "") || !b.store.release(key+" named", "erp") {
			b.t.Error("Medusa has lost its lock")
		}
	})
	b.rule("leaves alone what Medusa took after ours had lapsed", func(b *both, key string) {
		b.take(key, locking.Expire(50*time.Millisecond))
		b.gone(key)
		b.store.take(key, lockArgs{})
		all(b, 0)
		b.has(key, "*")
		b.store.release(key, "")
	})
	b.rule("leaves alone what Medusa took after ours had lapsed, of an owner of one name", func(b *both, key string) {
		b.take(key, locking.WithOwner("erp"), locking.Expire(50*time.Millisecond))
		b.gone(key)
		b.store.take(key, lockArgs{Owner: "erp"})
		all(b, 0, locking.WithOwner("erp"))
		b.has(key, "erp")
		b.store.release(key, "erp")
	})
}
