package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

var errDead = errors.New("the process has died")

// mortal is the store as one instance sees it: once that has died nothing it sends
// arrives.
type mortal struct {
	store.TaskQueue

	shared bool // several processes may have it
	next   bool // what is claimed nobody else has had since
	dead   atomic.Bool
	asleep atomic.Bool // it believes to renew its lease, as a process that was stopped
}

func (m *mortal) Describe() store.Info {
	i := m.TaskQueue.Describe()
	i.Durable, i.Shared = true, m.shared
	return i
}

func (m *mortal) Create(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
	if m.dead.Load() {
		return nil, errDead
	}
	return m.TaskQueue.Create(ctx, x)
}

func (m *mortal) Commit(ctx context.Context, writes []store.Write) []error {
	if m.dead.Load() {
		return slices.Repeat([]error{errDead}, len(writes))
	}
	return m.TaskQueue.Commit(ctx, writes)
}

func (m *mortal) Claim(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
	if m.dead.Load() {
		return nil, errDead
	}
	list, err := m.TaskQueue.Claim(ctx, c)
	for i := range list {
		list[i].Next = m.next
	}
	return list, err
}

func (m *mortal) Heartbeat(ctx context.Context, i store.Instance, d time.Duration) error {
	if m.dead.Load() {
		return errDead
	}
	if m.asleep.Load() {
		return nil
	}
	return m.TaskQueue.Heartbeat(ctx, i, d)
}

func (m *mortal) Release(ctx context.Context, i store.Instance, held []store.Held) error {
	if m.dead.Load() {
		return errDead
	}
	return m.TaskQueue.Release(ctx, i, held)
}

func (m *mortal) Take(ctx context.Context, t store.Take) ([]store.Taken, time.Duration, error) {
	if m.dead.Load() {
		return nil, 0, errDead
	}
	return m.TaskQueue.Take(ctx, t)
}

func (m *mortal) Finish(ctx context.Context, i store.Instance, t store.TaskHeld, msg store.Message) error {
	if m.dead.Load() {
		return errDead
	}
	return m.TaskQueue.Finish(ctx, i, t, msg)
}

func (m *mortal) End(ctx context.Context, i store.Instance) error {
	if m.dead.Load() {
		return errDead
	}
	return m.TaskQueue.End(ctx, i)
}

// instances starts engines on one store, each of which can die.
type instances struct {
	t     *testing.T
	set   workflow.Set
	store *storemem.Store
	locks *locking.Service // all of them use it

	next   bool
	node   string // of each
	most   int    // that each may have at work of what it claims
	shared bool
}

func newInstances(t *testing.T, set ...workflow.Definition) *instances {
	t.Helper()
	locks, err := locking.New(t.Context(), locking.Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = locks.Close(context.Background()) })
	return &instances{t: t, set: set, store: storemem.New(), locks: locks}
}

func (s *instances) start(options ...func(cfg *workflow.Config)) (*workflow.Engine, *mortal) {
	s.t.Helper()
	m := &mortal{TaskQueue: s.store, shared: s.shared, next: s.next}
	c := container.New()
	container.MustRegister(c, locking.ServiceKey, s.locks)
	cfg := workflow.Config{Workflows: s.set, Store: m, CancelGrace: time.Millisecond, Container: c, Logger: quiet, Node: s.node, MaxClaimed: s.most, AllowLocalLocks: true}
	for _, o := range options {
		o(&cfg)
	}
	e, err := workflow.NewEngine(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := e.Start(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = e.Stop(context.Background()) })
	return e, m
}

// kill ends an engine as the death of its process does.
func kill(t *testing.T, r *workflow.Engine, m *mortal) {
	t.Helper()
	m.dead.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = r.Stop(ctx) // what it has left is for others
}

// result waits for an execution by joining it.
func result(t *testing.T, e *workflow.Engine, w *workflow.Workflow[string, string]) (string, error) {
	t.Helper()
	return workflow.Run(t.Context(), e, w, "-", workflow.WithExecutionID("x"))
}

func TestNodeThatComesBackWaitsForNoLeaseOnAStoreThatOneProcessHas(t *testing.T) {
	for name, shared := range map[string]bool{"one process": false, "several processes": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var j journal
				var first atomic.Bool
				first.Store(true)
				w := inTurn(body(&j, "a", func(ctx *steps.Context) error {
					if first.Swap(false) {
						return untilEnd(ctx) // its process dies in here
					}
					return nil
				}))
				s := newInstances(t, w)
				s.node, s.shared = "n", shared
				one, m := s.start()
				beginOn(t, one, w, "-", workflow.WithExecutionID("x"))
				synctest.Wait()
				kill(t, one, m)
				began := time.Now()
				two, _ := s.start()
				if _, err := result(t, two, w); err != nil {
					t.Error(err)
				}
				if d := time.Since(began); (d > time.Second) != shared {
					t.Errorf("it is gone on with after %s", d)
				}
			})
		})
	}
}

func TestAnotherInstanceGoesOnWithinTwoLeasesOfADeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var first atomic.Bool
		first.Store(true)
		mid := body(&j, "b", func(ctx *steps.Context) error {
			if first.Swap(false) {
				<-ctx.Done() // its process dies in here
				return ctx.Err()
			}
			return nil
		})
		w := inTurn(doing(&j, "a"), mid, doing(&j, "c"))
		s := newInstances(t, w)
		one, m := s.start()
		beginOn(t, one, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		died := time.Now()
		kill(t, one, m)
		two, _ := s.start()
		out, err := result(t, two, w)
		if took := time.Since(died); out != "-abc" || err != nil || took > 2*workflow.DefaultLease {
			t.Errorf("%q, %v after %s", out, err, took)
		}
		j.want(t, "do a(-)", "do b(-a)", "do b(-a)", "do c(-ab)")
	})
}

func TestAnotherInstanceGoesOnAtOnceAfterACleanStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var stop atomic.Bool
		stop.Store(true)
		w := inTurn(doing(&j, "a"), body(&j, "b", func(ctx *steps.Context) error {
			if stop.Swap(false) {
				return untilEnd(ctx)
			}
			return nil
		}))
		s := newInstances(t, w)
		one, _ := s.start()
		two, _ := s.start()
		beginOn(t, one, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := one.Stop(ctx); !errors.Is(err, workflow.ErrInterrupted) {
			t.Error(err)
		}
		stopped := time.Now()
		if out, err := result(t, two, w); out != "-ab" || err != nil || time.Since(stopped) > 0 {
			t.Errorf("%q, %v after %s", out, err, time.Since(stopped))
		}
	})
}

func TestASleepOutlivesItsInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := workflow.New("w", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
			workflow.Sleep(b, time.Hour)
			return workflow.Do(b, doing(&j, "a"), in)
		})
		s := newInstances(t, w)
		began := time.Now()
		one, m := s.start()
		beginOn(t, one, w, "-", workflow.WithExecutionID("x"))
		kill(t, one, m)
		two, _ := s.start()
		if out, err := result(t, two, w); out != "-a" || err != nil || time.Since(began) != time.Hour {
			t.Errorf("%q, %v after %s", out, err, time.Since(began))
		}
	})
}

func TestAGuardOutlivesItsInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tokens []locking.Token
		var first atomic.Bool
		first.Store(true)
		inside := steps.New("inside", func(ctx *steps.Context, in string) (string, error) {
			l, err := locking.Held(ctx, "k")
			if err != nil {
				return "", err
			}
			tokens = append(tokens, l.Token("k"))
			if first.Swap(false) {
				return in, untilEnd(ctx)
			}
			return in, nil
		})
		w := workflow.New("w", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
			return workflow.Guard(b, workflow.Const(b, "k"), func(b *workflow.Builder) workflow.Value[string] {
				return workflow.Do(b, inside, in)
			})
		})
		s := newInstances(t, w)
		one, m := s.start()
		two, _ := s.start()
		beginOn(t, one, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		kill(t, one, m)
		if _, err := result(t, two, w); err != nil {
			t.Error(err)
		}
		if len(tokens) != 2 || tokens[1] <= tokens[0] {
			t.Errorf("tokens %v, want the second to be higher", tokens)
		}
	})
}

// A step that kills its process is found out, and its execution fails alone (I11).
func TestI11OnePoisonStepAmongAThousandInnocents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const innocents = 1000
		var alive atomic.Pointer[mortal]
		var calls [innocents + 1]atomic.Int32
		var poisoned, resumed atomic.Bool
		s := steps.New("s", func(ctx *steps.Context, in int) (int, error) {
			calls[in].Add(1)
			if in == innocents && !resumed.Load() {
				alive.Load().dead.Store(true)
				poisoned.Store(true)
				return in, untilEnd(ctx)
			}
			select {
			case <-time.After(time.Minute):
				return in, nil
			case <-ctx.Done():
				return in, ctx.Err()
			}
		}, steps.Undo(func(*steps.Context, int) error { return nil }))
		w := workflow.New("w", func(b *workflow.Builder, in workflow.Value[int]) workflow.Value[int] { return workflow.Do(b, s, in) })
		set := newInstances(t, w)
		r, m := set.start()
		alive.Store(m)
		for i := range innocents {
			beginOn(t, r, w, i, workflow.WithExecutionID(fmt.Sprint(i)))
		}
		synctest.Wait()
		beginOn(t, r, w, innocents, workflow.WithExecutionID("poison"))
		for deaths := 0; ; deaths++ {
			synctest.Wait()
			for !poisoned.Load() && time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) < 24*time.Hour {
				time.Sleep(time.Minute)
			}
			if !poisoned.Swap(false) {
				break
			}
			kill(t, r, m)
			r, m = set.start()
			alive.Store(m)
		}
		for i := range innocents {
			if _, err := workflow.Run(t.Context(), r, w, i, workflow.WithExecutionID(fmt.Sprint(i))); err != nil {
				t.Fatalf("innocent %d: %v", i, err)
			}
		}
		_, err := workflow.Run(t.Context(), r, w, innocents, workflow.WithExecutionID("poison"))
		var loop *workflow.CrashLoopError
		if !errors.As(err, &loop) || loop.Deaths != 3 || calls[innocents].Load() != 4 {
			t.Errorf("poison: %v, after %d calls", err, calls[innocents].Load())
		}
	})
}
