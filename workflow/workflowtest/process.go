package workflowtest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

// process is one start of an engine, with all that its process has.
type process struct {
	*death

	subject  *Subject
	program  Program
	store    store.Store // as it is, not as the process sees it
	provider driver.Queuer
	locks    *locking.Service
	engine   *workflow.Engine
}

// lockLeases is how many leases of an engine the lease of a lock has: the least that an
// engine takes.
const lockLeases = 4

// start starts a process that dies at that point.
func (s *Subject) start(tb testing.TB, dir string, w World, d *death) (_ *process, err error) {
	tb.Helper()
	p := &process{death: d, subject: s, program: s.Program(tb, dir)}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.store, err = w.OpenStore(); err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	quiet := slog.New(slog.DiscardHandler)
	p.provider = w.NewLocks()
	p.locks, err = locking.New(context.Background(), locking.Config{
		Logger:    quiet,
		Providers: []locking.Registration{{ID: s.Locks, IsDefault: true, Provider: &mortalLocks{p.provider, d}}},
	})
	if err != nil {
		return nil, fmt.Errorf("connect the locks: %w", err)
	}
	c := container.New()
	container.MustRegister(c, locking.ServiceKey, p.locks)
	if p.program.Register != nil {
		p.program.Register(c)
	}
	p.engine, err = workflow.NewEngine(workflow.Config{
		Node: w.Node, Container: c, Store: mortal(p.store, d), Workflows: p.program.Workflows, Queues: p.program.Queues, Logger: quiet,
		Lease: s.Lease, LockLease: lockLeases * s.Lease, CancelGrace: s.Lease / 10, RestAfter: s.Lease,
	})
	if err != nil {
		return nil, err
	}
	return p, p.engine.Start(context.Background())
}

// run has the process do what it is for, until that is done or it has died.
func (p *process) run() error {
	ctx, cancel := context.WithTimeout(p.life, p.subject.Patience)
	defer cancel()
	return p.program.Run(ctx, p.engine)
}

// settled waits until all executions have ended, and have nothing to do elsewhere, or the
// process has died.
func (p *process) settled() error {
	return p.patiently(func() (string, error) {
		if !p.alive() {
			return "", nil
		}
		page, err := p.store.List(context.Background(), store.Query{Limit: 1000})
		for i := range page.Executions {
			if x := &page.Executions[i]; !x.State.Finished() || x.Unsettled {
				return fmt.Sprintf("%s is %s, due %s, its owner is %q", x.Key, x.State, x.DueAt, x.Owner), nil
			}
		}
		return "", err
	})
}

// unlocked waits until no lock is left: what a dead process held lapses.
func (p *process) unlocked() error {
	inspector, ok := p.provider.(driver.Inspector)
	if !ok {
		return nil
	}
	return p.patiently(func() (string, error) {
		page, err := inspector.List(context.Background(), driver.ListRequest{})
		for _, l := range page.Locks {
			return fmt.Sprintf("%q is held by %q", l.Key, l.Owner), nil
		}
		return "", err
	})
}

// patiently asks until nothing is left.
func (p *process) patiently(left func() (string, error)) error {
	until := time.Now().Add(p.subject.Patience)
	for {
		what, err := left()
		if err != nil || what == "" {
			return err
		}
		if time.Now().After(until) {
			return fmt.Errorf("after %s there is still: %s", p.subject.Patience, what)
		}
		time.Sleep(p.subject.Lease / 20) // the pause between two looks
	}
}

var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// stop ends a process that lives, and has what it gives back given back.
func (p *process) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.subject.Patience)
	defer cancel()
	err := p.engine.Stop(ctx)
	p.close()
	return err
}

// bury ends what a process that has died has left in this one.
func (p *process) bury() {
	_ = p.engine.Stop(ended) // nothing of what it does gets anywhere
	p.close()
}

func (p *process) close() {
	p.over()
	if p.locks != nil {
		_ = p.locks.Close(ended)
	}
	if p.store != nil {
		_ = p.store.Close(context.Background())
	}
}
