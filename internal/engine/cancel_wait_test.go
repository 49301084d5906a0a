package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
)

// queueKeeper is a keeper whose locks nobody gets: who asks for one waits.
type queueKeeper struct {
	mu        sync.Mutex
	waits     map[string]string // the owners, by ticket
	cancelled map[string]string
	// unknown is the error of the next call of Resolve.
	unknown error
}

func (k *queueKeeper) Listen(func(string, error)) (stop func()) { return func() {} }

func (k *queueKeeper) Resolve(provider string, keys []string) (string, []string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.unknown
	k.unknown = nil
	return provider, keys, err
}

func (k *queueKeeper) Park(_ context.Context, w LockWait) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.waits[w.Ticket] = w.Owner
	return false, nil
}

func (k *queueKeeper) Claim(context.Context, LockWait) ([]runctx.Hold, error) {
	return nil, ErrNotOffered
}

func (k *queueKeeper) Cancel(_ context.Context, w LockWait) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cancelled[w.Ticket] = w.Owner
	return nil
}

func (k *queueKeeper) TakeOver(context.Context, []store.Hold, Generation, time.Duration, time.Duration) ([]runctx.Hold, bool, error) {
	return nil, false, nil
}

func (k *queueKeeper) Restore(context.Context, []store.Hold, Generation, time.Duration, time.Duration) ([]runctx.Hold, bool, error) {
	return nil, false, nil
}

func (k *queueKeeper) Local(string) bool { return false }

func (k *queueKeeper) Free(context.Context, []store.Hold) error { return nil }

// cancelled cancels an execution whose guard waits, while the keeper resolves its provider
// to an error, and returns what becomes of that within a while.
func cancelled(t *testing.T, unknown error) (k *queueKeeper, x *store.Snapshot) {
	t.Helper()
	nothing := func(context.Context, plan.Codec, []byte) plan.Result { return plan.Result{} }
	p, err := plan.New(plan.Plan{
		Name:      "w",
		Sequences: []plan.Sequence{{Nodes: []int{0}, Output: plan.Input}, {Nodes: []int{1}, Output: plan.Input}},
		Nodes: []plan.Node{
			{
				Path: "guard", Kind: plan.GuardNode, Inputs: []plan.Ref{plan.Input}, Guard: &plan.Guard{}, Branches: []int{1},
				Decide: func(plan.Codec, [][]byte) (plan.Decision, error) { return plan.Decision{Keys: []string{"k"}}, nil },
			},
			{Path: "step", Kind: plan.StepNode, Inputs: []plan.Ref{plan.Input}, Step: &plan.Step{Name: "step", Invoke: nothing}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	k = &queueKeeper{waits: map[string]string{}, cancelled: map[string]string{}}
	e := New(Config{
		Store: storemem.New(), Codec: store.JSON{}, Plans: map[string]*plan.Plan{"w": p}, Logger: slog.New(slog.DiscardHandler),
		Lease: 5 * time.Second, LockLease: 30 * time.Second, CancelGrace: time.Second, Retention: Retention{Given: time.Hour}, Keeper: k,
	})
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer e.Stop(t.Context())
	r, err := e.Begin(t.Context(), Order{Plan: p, ID: "x", Input: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	k.mu.Lock()
	if k.unknown = unknown; len(k.waits) != 1 {
		t.Errorf("%d wait", len(k.waits))
	}
	k.mu.Unlock()
	if err := e.Send(t.Context(), r.Key(), store.Event{Kind: store.Cancel}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
	if x, err = e.cfg.Store.Load(t.Context(), r.Key()); err != nil {
		t.Fatal(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k, x
}

func TestWaitWhoseProviderCannotBeAskedForAtFirstIsEndedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _ := cancelled(t, errors.New("no answer"))
		for ticket, owner := range k.waits {
			if k.cancelled[ticket] != owner {
				t.Errorf("%s of %s waits; ended are %v", ticket, owner, k.cancelled)
			}
		}
	})
}

// It would be tried again for ever, and the execution would never be through.
func TestWaitAtAProviderThatIsNotThereIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, x := cancelled(t, fmt.Errorf("%w: no such provider", ErrRefused))
		if len(k.cancelled) > 0 || x.State != store.Reverted || x.Unsettled {
			t.Errorf("ended are %v; it is %s, unsettled: %t", k.cancelled, x.State, x.Unsettled)
		}
	})
}
