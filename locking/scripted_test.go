package locking_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
)

var errDown = errors.New("the provider is down")

// scripted is a provider in memory whose answers can be bent, and which notes what
// it was asked. A function that is nil bends nothing; one that returns an error has
// that returned in place of the answer.
type scripted struct {
	*lockmem.Provider

	acquired func(ctx context.Context, g *driver.Grant) error // after it was granted
	extend   func(ctx context.Context, ttl time.Duration, holds []driver.Hold) error
	extended func(answers []driver.Extension)
	// silent returns an error for a hold that is to get no answer; it is called when the
	// others have been extended.
	silent  func(ctx context.Context, h driver.Hold) error
	release func(holds []driver.Hold) error

	muted atomic.Bool // events of the provider do not arrive
	wide  bool        // it protects more than this process

	mu     sync.Mutex
	notify func(driver.Event)
	freed  [][]driver.Hold // of Release, call for call
	sizes  []int           // of Extend, call for call
}

// service starts a service over a scripted provider, which nothing bends yet.
func service(t *testing.T) (*locking.Service, *scripted, *bytes.Buffer) {
	t.Helper()
	p := &scripted{Provider: lockmem.New(lockmem.Config{})}
	var log bytes.Buffer
	s, err := locking.New(t.Context(), locking.Config{
		Providers: []locking.Registration{{ID: "p", Provider: p}},
		Logger:    slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s, p, &log
}

func (p *scripted) Start(ctx context.Context, env driver.Env) error {
	p.notify = env.Notify
	env.Notify = func(e driver.Event) {
		if !p.muted.Load() {
			p.notify(e)
		}
	}
	return p.Provider.Start(ctx, env)
}

func (p *scripted) Describe() driver.Info {
	info := p.Provider.Describe()
	info.ProcessLocal = !p.wide
	return info
}

func (p *scripted) mute(on bool) { p.muted.Store(on) }

func (p *scripted) Acquire(ctx context.Context, req driver.Request) (driver.Grant, error) {
	g, err := p.Provider.Acquire(ctx, req)
	if err == nil && p.acquired != nil {
		err = p.acquired(ctx, &g)
	}
	return g, err
}

func (p *scripted) Extend(ctx context.Context, ttl time.Duration, holds []driver.Hold) ([]driver.Extension, error) {
	p.mu.Lock()
	p.sizes = append(p.sizes, len(holds))
	p.mu.Unlock()
	if p.extend != nil {
		if err := p.extend(ctx, ttl, holds); err != nil {
			return nil, err
		}
	}
	answers, err := p.Provider.Extend(ctx, ttl, holds)
	if err == nil && p.extended != nil {
		p.extended(answers)
	}
	for i := range answers {
		if p.silent == nil {
			break
		}
		if err := p.silent(ctx, holds[i]); err != nil {
			answers[i] = driver.Extension{Err: err}
		}
	}
	return answers, err
}

func (p *scripted) Release(ctx context.Context, holds []driver.Hold) ([]bool, error) {
	p.mu.Lock()
	p.freed = append(p.freed, slices.Clone(holds))
	p.mu.Unlock()
	if p.release != nil {
		if err := p.release(holds); err != nil {
			return nil, err
		}
	}
	return p.Provider.Release(ctx, holds)
}

// releases says which keys were released, call for call.
func (p *scripted) releases() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var calls []string
	for _, c := range p.freed {
		keys := ""
		for _, h := range c {
			keys += h.Key
		}
		calls = append(calls, keys)
	}
	return fmt.Sprint(calls)
}

// extensions says how many locks were to be extended, call for call.
func (p *scripted) extensions() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.sizes)
}

// offer makes a grant an offer.
func offer(_ context.Context, g *driver.Grant) error {
	for i := range g.Holds {
		g.Holds[i].Offer, g.Holds[i].Until = true, time.Now().Add(2*time.Second)
	}
	return nil
}

func take(t *testing.T, s *locking.Service, key string, opts ...locking.TryOption) *locking.Lock {
	t.Helper()
	l, err := s.TryAcquire(t.Context(), locking.Keys(key), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// hold is what the provider knows of a lock's key.
func hold(l *locking.Lock, key string) driver.Hold {
	return driver.Hold{Key: key, Owner: l.Owner(), Token: l.Token(key)}
}

// cause fails the test unless the lock's context has ended for the given reason;
// nil is that it goes on.
func cause(t *testing.T, what string, l *locking.Lock, want error) {
	t.Helper()
	if got := context.Cause(l.Context()); !errors.Is(got, want) {
		t.Errorf("%s: the lock's context: %v, want %v", what, got, want)
	}
}

// job runs a job that ends when stop is called, which returns what Execute did.
func job(t *testing.T, s *locking.Service, key string, opts ...locking.ExecuteOption) (ctx context.Context, stop func() error) {
	t.Helper()
	begun, over, result := make(chan context.Context), make(chan struct{}), make(chan error, 1)
	go func() {
		result <- s.Execute(t.Context(), locking.Keys(key), func(ctx context.Context) error {
			begun <- ctx
			<-over
			return nil
		}, opts...)
	}()
	return <-begun, sync.OnceValue(func() error {
		close(over)
		return <-result
	})
}
