package locksteps_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

var errNoReply = errors.New("no reply")

// faulty is a provider some of whose calls are carried out and get no answer.
type faulty struct {
	driver.Provider

	mu       sync.Mutex
	acquires int // calls whose reply is lost
	releases int
	granted  []locking.Token // of the calls whose reply was lost
	counted  int             // calls since count
}

// count begins to count calls.
func (f *faulty) count() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counted = 0
}

func (f *faulty) calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counted
}

// onFaulty is onEach with locks behind p.
func onFaulty(t *testing.T, p *faulty, rule func(r *rig)) {
	t.Helper()
	again := func(t *testing.T, inner driver.Provider) {
		t.Helper()
		p.Provider, p.granted = inner, nil
		rule(newRig(t, p))
	}
	t.Run("memory", func(t *testing.T) { again(t, lockmem.New(lockmem.Config{})) })
	t.Run("redis", func(t *testing.T) {
		again(t, lockredis.New(lockredis.Config{RedisURL: redistest.Start(t).URL()}))
	})
}

func (f *faulty) losesReplies(acquires int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acquires = acquires
}

// failsReleases makes the next releases fail without being carried out.
func (f *faulty) failsReleases(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.releases = n
}

func (f *faulty) lost() []locking.Token {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.granted
}

func (f *faulty) Acquire(ctx context.Context, req driver.Request) (driver.Grant, error) {
	grant, err := f.Provider.Acquire(ctx, req)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counted++
	if err != nil || f.acquires == 0 {
		return grant, err
	}
	f.acquires--
	f.granted = append(f.granted, grant.Holds[0].Token)
	return driver.Grant{}, errNoReply
}

func (f *faulty) Release(ctx context.Context, holds []driver.Hold) ([]bool, error) {
	f.mu.Lock()
	f.counted++
	fails := f.releases > 0
	if fails {
		f.releases--
	}
	f.mu.Unlock()
	if fails {
		return nil, errNoReply
	}
	return f.Provider.Release(ctx, holds)
}
