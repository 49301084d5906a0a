package locking

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// ErrNoQueue means that a provider has no queue that can be waited in without a
// goroutine, so that executions cannot wait for its locks.
var ErrNoQueue = errors.New("locking: the provider has no tickets")

// Tickets takes locks for executions, which wait for them without a goroutine. It is
// for package workflow; others use [Service.Acquire].
//
// What it takes is renewed like any lock of an execution, until it is freed. Its
// methods may be called concurrently.
type Tickets struct{ s *Service }

// Tickets returns the service as executions see it.
func (s *Service) Tickets() Tickets { return Tickets{s} }

// listeners are those who are told of tickets.
type listeners struct {
	mu   sync.Mutex
	last int
	byID map[int]func(driver.Event)
}

func (l *listeners) tell(e driver.Event) {
	l.mu.Lock()
	told := make([]func(driver.Event), 0, len(l.byID))
	for _, f := range l.byID {
		told = append(told, f)
	}
	l.mu.Unlock()
	for _, f := range told {
		f(e)
	}
}

// Listen has a function told what becomes of tickets, until it is stopped. It must not
// block, and must not call the service.
func (t Tickets) Listen(tell func(driver.Event)) (stop func()) {
	l := &t.s.tickets
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byID == nil {
		l.byID = make(map[int]func(driver.Event))
	}
	l.last++
	id := l.last
	l.byID[id] = tell
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.byID, id)
	}
}

// Check normalizes the keys of a request as [Service.Acquire] does, and returns the
// provider's full id, and whether it protects this process only.
func (t Tickets) Check(provider string, keys []string) (id string, sorted []string, local bool, err error) {
	p, err := t.s.provider(provider)
	if err != nil {
		return "", nil, false, err
	}
	sorted, err = t.s.normalize(nil, keys)
	return p.id, sorted, p.info.ProcessLocal, err
}

// Enqueue puts a ticket into the queues of its keys, or finds it there. It says whether
// the keys are offered to it. Its errors are those of [driver.Queuer], explained.
func (t Tickets) Enqueue(ctx context.Context, provider string, tk driver.Ticket) (offered bool, err error) {
	p, q, err := t.queue(provider)
	if err != nil {
		return false, err
	}
	p.asked.Store(true)
	place, err := q.Enqueue(ctx, tk)
	if err != nil {
		return false, p.explain(ctx, tk.Keys, 0, err)
	}
	return place.Offered, nil
}

// Claim takes what is offered to a ticket, which ends it, and has it renewed by the
// lease, for most at the longest when that is not zero. It returns an error that
// matches [driver.ErrNoOffer] when there is no offer.
func (t Tickets) Claim(ctx context.Context, provider string, tk driver.Ticket, lease, most time.Duration) ([]runctx.Hold, error) {
	p, q, err := t.queue(provider)
	if err != nil {
		return nil, err
	}
	return p.collect(ctx, tk.Request, leased(lease, most, most > 0), func() (driver.Grant, error) { return q.Claim(ctx, tk) })
}

// Cancel takes a ticket out of the queues, and frees what was offered to it.
func (t Tickets) Cancel(ctx context.Context, provider string, tk driver.Ticket) error {
	p, q, err := t.queue(provider)
	if err != nil {
		return err
	}
	if _, err := q.Cancel(ctx, tk); err != nil {
		return fmt.Errorf("locking: cancel ticket %q at %s: %w", tk.ID, p.id, err)
	}
	return nil
}

// TakeOver takes holds of an execution over for a later generation, with new tokens.
// It answers false, and takes nothing, when one of them is not held any more, or may not
// have been held all the time: somebody else may have had it since. For one that was taken
// by force the error matches [ErrLockRevoked].
func (t Tickets) TakeOver(
	ctx context.Context, provider string, holds []driver.Hold, g driver.Generation, lease, most time.Duration,
) (taken []runctx.Hold, stands bool, err error) {
	p, err := t.s.provider(provider)
	if err != nil {
		return nil, false, err
	}
	answers, err := p.driver.Extend(ctx, lease, holds)
	if err != nil {
		return nil, false, fmt.Errorf("locking: take over locks at %s: %w", p.id, err)
	}
	now := p.holds.clock.read()
	var until []end
	req := driver.Request{Owner: holds[0].Owner, Generation: g, TTL: lease, Wait: driver.NoWait}
	for i := range holds {
		switch a := &answers[i]; {
		case a.Err != nil:
			return nil, false, fmt.Errorf("locking: take over locks at %s: %w", p.id, a.Err)
		case a.Revoked:
			return nil, false, fmt.Errorf("locking: take over locks at %s: %s: %w", p.id, quoteShort(holds[i].Key), ErrLockRevoked)
		case !a.Held:
			return nil, false, nil
		}
		req.Keys = append(req.Keys, holds[i].Key)
		until = append(until, p.holds.clock.end(answers[i].Until, now))
	}
	taken, err = p.collect(ctx, req, leased(lease, most, most > 0), func() (driver.Grant, error) { return p.driver.Acquire(ctx, req) })
	if now = p.holds.clock.read(); err != nil || !slices.ContainsFunc(until, func(e end) bool { return e.passed(now) }) {
		return taken, err == nil, err
	}
	// It was taken so late that it may have been free in between.
	_, errs := runctx.FreeAll(ctx, taken)
	return nil, false, errors.Join(errs...)
}

// Local says that the locks of the provider protect this process only. A provider that
// there is not protects nothing.
func (t Tickets) Local(provider string) bool {
	p, err := t.s.provider(provider)
	return err == nil && p.info.ProcessLocal
}

// Restore takes holds of an execution again whose process has died, and which died with
// it. It answers false, and takes nothing, where somebody else may have had them since:
// when the provider protects more than this process, or when anybody has asked it for a
// lock in this process, but for those who restored theirs. Whoever calls knows that no
// other process had the locks.
func (t Tickets) Restore(
	ctx context.Context, provider string, holds []driver.Hold, g driver.Generation, lease, most time.Duration,
) (taken []runctx.Hold, stands bool, err error) {
	p, err := t.s.provider(provider)
	if err != nil || !p.info.ProcessLocal || p.asked.Load() {
		return nil, false, err
	}
	req := driver.Request{Owner: holds[0].Owner, Generation: g, TTL: lease, Wait: driver.NoWait}
	for i := range holds {
		req.Keys = append(req.Keys, holds[i].Key)
	}
	taken, err = p.collect(ctx, req, leased(lease, most, most > 0), func() (driver.Grant, error) { return p.driver.Acquire(ctx, req) })
	switch {
	case errors.Is(err, ErrNotAcquired): // another one that was restored has it
		return nil, false, nil
	case err != nil:
		return nil, false, err
	case !p.asked.Load():
		return taken, true, nil
	}
	_, errs := runctx.FreeAll(ctx, taken) // somebody has asked meanwhile, and may have had it before
	return nil, false, errors.Join(errs...)
}

// Free gives back holds that this process does not have, such as those of an instance
// that has died. What is not held any more is left alone.
func (t Tickets) Free(ctx context.Context, provider string, holds []driver.Hold) error {
	p, err := t.s.provider(provider)
	if err != nil {
		return err
	}
	if _, err := p.driver.Release(ctx, holds); err != nil {
		return fmt.Errorf("locking: give locks back at %s: %w", p.id, err)
	}
	return nil
}

func (t Tickets) queue(provider string) (*provider, driver.Queuer, error) {
	p, err := t.s.provider(provider)
	if err != nil {
		return nil, nil, err
	}
	q, ok := p.driver.(driver.Queuer)
	if !ok {
		return nil, nil, fmt.Errorf("%w: %s", ErrNoQueue, p.id)
	}
	return p, q, nil
}

// collect enters what a call of the provider grants.
func (p *provider) collect(ctx context.Context, req driver.Request, t terms, call func() (driver.Grant, error)) ([]runctx.Hold, error) {
	a := &ask{req: req, terms: t, start: time.Now()}
	if err := p.holds.expect(a); err != nil {
		return nil, err
	}
	defer p.holds.settle(&a.req)
	grant, err := call()
	if err != nil {
		return nil, p.explain(ctx, req.Keys, 0, err)
	}
	got, err := p.holds.accept(ctx, a, grant, nil)
	if err != nil {
		return nil, p.explain(ctx, req.Keys, 0, err)
	}
	holds := make([]runctx.Hold, len(got))
	for i, h := range got {
		holds[i] = h
	}
	return holds, nil
}
