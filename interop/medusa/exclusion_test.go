package medusa_test

import (
	"context"
	"errors"
	"testing"

	"github.com/lockstep-dev/lockstep/locking"
)

func TestAKeyHasOneHolderOnBothSides(t *testing.T) {
	b := startBoth(t)
	for name, args := range map[string]lockArgs{
		"anonymous": {}, "anonymous that expires": {Expire: 60},
		"named": {Owner: "theirs"}, "named that expires": {Owner: "theirs", Expire: 60},
	} {
		b.rule("what Medusa has, "+name+", we do not get", func(b *both, key string) {
			b.store.take(key, args)
			holder := args.Owner
			if holder == "" {
				holder = "*"
			}
			b.refused(holder, key)
			if !b.store.release(key, args.Owner) {
				b.t.Error("Medusa has lost its lock")
			}
			b.free(b.take(key))
		})
	}
	for name, opts := range map[string][]locking.AcquireOption{
		"anonymous": nil, "anonymous that expires": {locking.Expire(patience)},
		"named": {locking.WithOwner("ours")}, "named that expires": {locking.WithOwner("ours"), locking.Expire(patience)},
	} {
		b.rule("what we have, "+name+", Medusa does not get", func(b *both, key string) {
			lock := b.take(key, opts...)
			b.storeRefused(key, lockArgs{})
			b.storeRefused(key, lockArgs{Owner: "theirs", Expire: 60})
			b.free(lock)
			b.store.take(key, lockArgs{})
			b.store.release(key, "")
		})
	}
	b.rule("what Medusa's job has, we do not get", func(b *both, key string) {
		job := b.store.execute(key, lockArgs{})
		b.store.runs(job)
		b.refused(b.owner(key), key)
		if err := b.store.finish(job); err != nil {
			b.t.Error(err)
		}
		b.free(b.take(key))
	})
	b.rule("what our job has, Medusa does not get", func(b *both, key string) {
		err := b.locks.Execute(bg, locking.Keys(key), func(context.Context) error {
			b.storeRefused(key, lockArgs{})
			return nil
		})
		if err != nil {
			b.t.Error(err)
		}
		b.store.take(key, lockArgs{})
		b.store.release(key, "")
	})
	b.rule("of keys of which Medusa has one, we take none", func(b *both, key string) {
		b.store.take(key, lockArgs{})
		b.refused("*", key+" before", key, key+" behind")
		b.has(key+" before", "")
		b.has(key+" behind", "")
		b.store.release(key, "")
	})
	// Medusa takes many keys one by one, and does not give back what it got when one fails.
	b.rule("of keys of which we have one, Medusa keeps the others", func(b *both, key string) {
		lock := b.take(key)
		if _, err := b.store.ask("acquire", lockRequest{[]string{key + " before", key}, lockArgs{}}); err == nil {
			b.t.Error("Medusa gets what we have")
		}
		b.has(key+" before", "*")
		b.store.release(key+" before", "")
		b.free(lock)
	})
	b.rule("one of our many keys Medusa does not get", func(b *both, key string) {
		lock, err := b.locks.Acquire(bg, locking.Keys(key, key+" 2", key+" 3"))
		if err != nil {
			b.t.Fatal(err)
		}
		b.storeRefused(key+" 2", lockArgs{})
		b.free(lock)
		b.store.take(key+" 2", lockArgs{})
		b.store.release(key+" 2", "")
	})
}

func TestNeitherSideReleasesALockOfAnotherOwner(t *testing.T) {
	b := startBoth(t)
	b.rule("Medusa releases nothing of ours", func(b *both, key string) {
		lock := b.take(key, locking.WithOwner("ours"))
		if b.store.release(key, "theirs") || b.store.release(key, "") {
			b.t.Error("Medusa says it has released our lock")
		}
		b.has(key, "ours")
		b.free(lock)
	})
	b.rule("Medusa releases nothing of our jobs", func(b *both, key string) {
		err := b.locks.Execute(bg, locking.Keys(key), func(ctx context.Context) error {
			if b.store.release(key, "theirs") || b.store.release(key, "") {
				b.t.Error("Medusa says it has released our lock")
			}
			return ctx.Err()
		})
		if err != nil {
			b.t.Error(err)
		}
	})
	b.rule("we release nothing of Medusa's", func(b *both, key string) {
		b.store.take(key, lockArgs{Owner: "theirs"})
		for name, opts := range map[string][]locking.ReleaseOption{"anonymous": nil, "named": {locking.WithOwner("ours")}} {
			if had, err := b.locks.Release(bg, locking.Keys(key), opts...); had || err != nil {
				b.t.Errorf("%s: our release of Medusa's lock answers %t, %v", name, had, err)
			}
		}
		b.has(key, "theirs")
		if !b.store.release(key, "theirs") {
			b.t.Error("Medusa has lost its lock")
		}
	})
	b.rule("who knows the owner's name may release: Medusa ours", func(b *both, key string) {
		lock := b.take(key, locking.WithOwner("erp"))
		if !b.store.release(key, "erp") {
			b.t.Error("Medusa cannot release it")
		}
		b.has(key, "")
		b.lost(lock)
	})
	b.rule("who knows the owner's name may release: we Medusa's", func(b *both, key string) {
		b.store.take(key, lockArgs{Owner: "erp", Expire: 60})
		if had, err := b.locks.Release(bg, locking.Keys(key), locking.WithOwner("erp")); !had || err != nil {
			b.t.Errorf("got %t, %v", had, err)
		}
		b.has(key, "")
	})
}

// An owner that both sides name is one owner. What Medusa's acquire does to an expiry that
// it does not name is its own: it drops it, and with it what Lockstep knows of its lock.
func TestAnOwnerOfOneNameHasItsLocksOnBothSides(t *testing.T) {
	b := startBoth(t)
	b.rule("we get what Medusa took as that owner", func(b *both, key string) {
		b.store.take(key, lockArgs{Owner: "erp", Expire: 60})
		lock := b.take(key, locking.WithOwner("erp"), locking.Wait(0))
		if lock.Token(key) == 0 {
			b.t.Error("there is no fencing token")
		}
		if left := b.redis.PTTL(bg, "medusa_lock:"+key).Val(); left <= 0 {
			b.t.Errorf("the time to live that Medusa gave it is %s", left)
		}
		b.free(lock)
		b.has(key, "")
	})
	b.rule("Medusa gets what we took as that owner", func(b *both, key string) {
		lock := b.take(key, locking.WithOwner("erp"))
		b.store.take(key, lockArgs{Owner: "erp"})
		b.has(key, "erp")
		b.free(lock) // there are no counts: the first release frees it
		b.has(key, "")
	})
	b.rule("Medusa's acquire without expire drops the expiry, and our handle is void", func(b *both, key string) {
		lock := b.take(key, locking.WithOwner("erp"), locking.Expire(patience))
		b.store.take(key, lockArgs{Owner: "erp"})
		if left := b.redis.PTTL(bg, "medusa_lock:"+key).Val(); left != -1 {
			b.t.Errorf("Medusa keeps the expiry: %s", left)
		}
		if err := lock.Extend(bg, patience); !errors.Is(err, locking.ErrLockLost) {
			b.t.Errorf("our lock can be extended: %v", err)
		}
		b.lost(lock)
		b.has(key, "erp") // it is Medusa's now, until that name is released
		if !b.store.release(key, "erp") {
			b.t.Error("Medusa has lost its lock")
		}
	})
}
