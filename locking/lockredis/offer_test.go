package lockredis_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

func newService(t *testing.T, server *redistest.Server) *locking.Service {
	t.Helper()
	return serviceOf(t, lockredis.Config{RedisURL: server.URL()})
}

// serviceOf is a service with one provider.
func serviceOf(t *testing.T, cfg lockredis.Config) *locking.Service {
	t.Helper()
	s, err := locking.New(bg, locking.Config{
		Logger:    slog.New(slog.DiscardHandler),
		Providers: []locking.Registration{{ID: "locking-redis", IsDefault: true, Provider: lockredis.New(cfg)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(bg); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A lock that a release has handed over is an offer of 2 s at first.
func TestALockThatWasWaitedForOutlivesItsOffer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := newService(t, server)
	for name, opts := range map[string][]locking.AcquireOption{
		"without expiry": nil,
		"with an expiry": {locking.Expire(time.Minute)},
	} {
		first, err := s.Acquire(bg, locking.Keys(name))
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan *locking.Lock)
		go func() {
			l, err := s.Acquire(bg, locking.Keys(name), opts...)
			if err != nil {
				t.Error(err)
			}
			got <- l
		}()
		redistest.Eventually(t, 5*time.Second, func() string {
			if server.Client().ZCard(bg, "~lockstep:{1bz}:q:medusa_lock:"+name).Val() == 0 && len(server.Client().Keys(bg, "*:q:*").Val()) == 0 {
				return "nobody waits"
			}
			return ""
		})
		if err := first.Release(bg); err != nil {
			t.Fatal(err)
		}
		second := <-got
		if second == nil {
			return
		}
		select {
		case <-second.Context().Done():
			t.Fatalf("%s: the lock ended", name)
		case <-time.After(2500 * time.Millisecond):
		}
		ttl := server.Client().PTTL(bg, "medusa_lock:"+name).Val()
		if len(opts) == 0 && ttl != -1 || len(opts) > 0 && (ttl < 50*time.Second || ttl > time.Minute) {
			t.Fatalf("%s: its time to live is %s", name, ttl)
		}
		if err := second.Release(bg); err != nil {
			t.Fatal(err)
		}
	}
}
