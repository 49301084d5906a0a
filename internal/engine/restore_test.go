package engine

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
)

var errDown = errors.New("the store is down")

// fileStore is a store of one process, whose claims can be bent.
type fileStore struct {
	store.Store

	claim func() error
}

func (s *fileStore) Describe() store.Info {
	i := s.Store.Describe()
	i.Durable = true
	return i
}

func (s *fileStore) Claim(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
	if err := s.claim(); err != nil {
		return nil, err
	}
	return s.Store.Claim(ctx, c)
}

func TestStartThatFindsOutNothingLeavesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		claim func(e *Engine) error
		want  error
	}{
		"the store is down":     {func(*Engine) error { return errDown }, errDown},
		"it is stopped":         {func(e *Engine) error { e.Stop(past(context.Background())); return nil }, ErrNotRunning},
		"it has lost its lease": {func(e *Engine) error { e.loseLease(errDown); return nil }, ErrLostLease},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &fileStore{Store: storemem.New()}
				e := New(Config{
					Store: s, Logger: slog.New(slog.DiscardHandler), Node: "n", Lease: time.Minute,
					Keeper: &queueKeeper{waits: map[string]string{}, cancelled: map[string]string{}},
				})
				s.claim = func() error { return c.claim(e) }
				if err := e.Start(t.Context()); !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
				if err := e.Start(t.Context()); !errors.Is(err, ErrNotRunning) {
					t.Errorf("started again: %v", err)
				}
				if err := s.Heartbeat(t.Context(), e.me, time.Minute); !errors.Is(err, store.ErrInstance) {
					t.Errorf("its lease was not given back: %v", err)
				}
				e.Stop(t.Context())
			})
		})
	}
}
