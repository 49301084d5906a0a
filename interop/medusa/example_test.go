package medusa_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// open is the wiring of a service beside a store.
func open(ctx context.Context) (*locking.Service, error) {
	// snippet: wiring
	return locking.New(ctx, locking.Config{Providers: []locking.Registration{
		{ID: "locking-redis", IsDefault: true, Provider: lockredis.New(lockredis.Config{
			RedisURL:  os.Getenv("LOCKING_REDIS_URL"), // the store's redisUrl, the number of the database too
			Namespace: os.Getenv("LOCKING_NAMESPACE"), // the store's namespace; empty is "medusa_lock:"
		})},
	}})
	// snippet: end
}

// adjust is a job beside a store.
func adjust(ctx context.Context, locks *locking.Service, items []string, write func(ctx context.Context) error) error {
	// snippet: job
	// The store's steps lock the same keys before they reserve or adjust these items.
	err := locks.Execute(ctx, items, func(ctx context.Context) error {
		return write(ctx) // ctx ends when a lock is lost
	}, locking.Wait(10*time.Second)) // the store polls, and may come first a few times
	// snippet: end
	return err
}

// export takes what a job cannot: a lock for longer than one function.
func export(ctx context.Context, locks *locking.Service, orderID, run string) (*locking.Lock, error) {
	// snippet: named
	// With a name of its own, no anonymous release of the store frees it; with an expiry
	// it ends with its process.
	return locks.Acquire(ctx, locking.Keys(orderID), locking.WithOwner("erp-export:"+run), locking.Expire(time.Minute))
	// snippet: end
}

func TestTheExamplesOfTheDocumentation(t *testing.T) {
	for _, namespace := range []string{"", "shop_lock:"} {
		t.Run("namespace "+namespace, func(t *testing.T) {
			server := redistest.Start(t)
			url := server.URL() + "/3"
			store := startStore(t, url, namespace)
			t.Setenv("LOCKING_REDIS_URL", url)
			t.Setenv("LOCKING_NAMESPACE", namespace)
			locks, err := open(bg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := locks.Close(bg); err != nil {
					t.Error(err)
				}
			})
			err = adjust(bg, locks, []string{"iitem_1", "iitem_2"}, func(context.Context) error {
				if err := store.acquire("iitem_2", lockArgs{}); err == nil {
					t.Error("Medusa gets what our job has")
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			lock, err := export(bg, locks, "order_1", "1")
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Close()
			if err := store.acquire("order_1", lockArgs{Expire: 10}); err == nil {
				t.Error("Medusa gets what our export has")
			}
		})
	}
}

// What docs/medusa.md says of users: each side with the rights that it names.
func TestBothSidesLockAsUsersWithFewRights(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client()
	for name, rules := range map[string][]any{
		"store":   {"~medusa_lock:*", "+@read", "+@write", "+@connection", "+eval", "+evalsha", "+script", "+info"},
		"service": {"~medusa_lock:*", "~~lockstep:*", "&~lockstep:*", "&__redis__:invalidate", "+@read", "+@write", "+@connection", "+@pubsub", "+eval", "+evalsha", "+script", "+info", "+time"},
	} {
		rules = append([]any{"ACL", "SETUSER", name, "reset", "on", ">" + name}, rules...)
		if err := admin.Do(bg, append(rules, "-@dangerous", "+info")...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	url := func(user string) string { return fmt.Sprintf("redis://%s:%s@%s", user, user, server.Addr()) }
	b := &both{
		t, server, admin,
		startService(t, lockredis.Config{RedisURL: url("service")}),
		startStore(t, url("store"), ""),
	}
	b.rule("they wait for each other", func(b *both, key string) {
		b.store.take(key, lockArgs{Expire: 60})
		r := b.wait(key)
		if !b.store.release(key, "") {
			b.t.Error("Medusa has lost its lock")
		}
		lock := b.granted(r)
		job := b.store.execute(key, lockArgs{Timeout: patience.Seconds(), Expire: 1})
		b.free(lock)
		b.store.runs(job)
		if err := b.store.finish(job); err != nil {
			b.t.Error(err)
		}
	})
	b.rule("they release all of their own", func(b *both, key string) {
		b.store.take(key, lockArgs{Owner: "theirs"})
		b.take(key+" ours", locking.WithOwner("ours"))
		b.store.releaseAll("theirs")
		b.has(key, "")
		if n, err := b.locks.ReleaseAll(bg, locking.WithOwner("ours")); n != 1 || err != nil {
			b.t.Errorf("got %d, %v", n, err)
		}
	})
	if log, err := admin.Do(bg, "ACL", "LOG").Slice(); err != nil || len(log) > 0 {
		t.Errorf("the server has refused: %v, %v", log, err)
	}
}
