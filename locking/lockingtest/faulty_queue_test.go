package lockingtest

import (
	"context"
	"fmt"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// full is a provider that has all that a provider may have.
type full interface {
	driver.Queuer
	driver.Inspector
}

// broken are the calls of a [faulty] about tickets and for tools; those that are
// nil are passed on.
type broken struct {
	start   func(ctx context.Context, env driver.Env) error
	enqueue func(ctx context.Context, t driver.Ticket) (driver.Place, error)
	claim   func(ctx context.Context, t driver.Ticket) (driver.Grant, error)
	cancel  func(ctx context.Context, t driver.Ticket) (bool, error)
	inspect func(ctx context.Context, key string, waiters int) (driver.State, error)
	list    func(ctx context.Context, req driver.ListRequest) (driver.Page, error)
	force   func(ctx context.Context, req driver.ForceRequest) (bool, error)
	audit   func(ctx context.Context, limit int) ([]driver.AuditRecord, error)
}

func whole(p driver.Provider) full {
	f, ok := p.(full)
	if !ok {
		panic(fmt.Sprintf("%T has no tickets, or cannot be looked into", p))
	}
	return f
}

// Start implements [driver.Provider].
func (f *faulty) Start(ctx context.Context, env driver.Env) error {
	if f.start != nil {
		return f.start(ctx, env)
	}
	return f.Provider.Start(ctx, env)
}

// Enqueue implements [driver.Queuer].
func (f *faulty) Enqueue(ctx context.Context, t driver.Ticket) (driver.Place, error) {
	if f.enqueue != nil {
		return f.enqueue(ctx, t)
	}
	return whole(f.Provider).Enqueue(ctx, t)
}

// Claim implements [driver.Queuer].
func (f *faulty) Claim(ctx context.Context, t driver.Ticket) (driver.Grant, error) {
	if f.claim != nil {
		return f.claim(ctx, t)
	}
	return whole(f.Provider).Claim(ctx, t)
}

// Cancel implements [driver.Queuer].
func (f *faulty) Cancel(ctx context.Context, t driver.Ticket) (bool, error) {
	if f.cancel != nil {
		return f.cancel(ctx, t)
	}
	return whole(f.Provider).Cancel(ctx, t)
}

// Inspect implements [driver.Inspector].
func (f *faulty) Inspect(ctx context.Context, key string, waiters int) (driver.State, error) {
	if f.inspect != nil {
		return f.inspect(ctx, key, waiters)
	}
	return whole(f.Provider).Inspect(ctx, key, waiters)
}

// List implements [driver.Inspector].
func (f *faulty) List(ctx context.Context, req driver.ListRequest) (driver.Page, error) {
	if f.list != nil {
		return f.list(ctx, req)
	}
	return whole(f.Provider).List(ctx, req)
}

// ForceRelease implements [driver.Inspector].
func (f *faulty) ForceRelease(ctx context.Context, req driver.ForceRequest) (bool, error) {
	if f.force != nil {
		return f.force(ctx, req)
	}
	return whole(f.Provider).ForceRelease(ctx, req)
}

// Audit implements [driver.Inspector].
func (f *faulty) Audit(ctx context.Context, limit int) ([]driver.AuditRecord, error) {
	if f.audit != nil {
		return f.audit(ctx, limit)
	}
	return whole(f.Provider).Audit(ctx, limit)
}

// enqueueAs changes tickets before they are enqueued.
func enqueueAs(f func(full, *driver.Ticket)) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, broken: broken{enqueue: func(ctx context.Context, t driver.Ticket) (driver.Place, error) {
			f(whole(p), &t)
			return whole(p).Enqueue(ctx, t)
		}}}
	}
}

// ticketsAs changes tickets before they are enqueued, and before they are claimed.
func ticketsAs(f func(*driver.Ticket)) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, broken: broken{
			enqueue: func(ctx context.Context, t driver.Ticket) (driver.Place, error) {
				f(&t)
				return whole(p).Enqueue(ctx, t)
			},
			claim: func(ctx context.Context, t driver.Ticket) (driver.Grant, error) {
				f(&t)
				return whole(p).Claim(ctx, t)
			},
		}}
	}
}

// eventsAs changes what is told of events: tell passes one on.
func eventsAs(f func(tell func(driver.Event), e driver.Event)) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, broken: broken{start: func(ctx context.Context, env driver.Env) error {
			tell := env.Notify
			env.Notify = func(e driver.Event) { f(tell, e) }
			return p.Start(ctx, env)
		}}}
	}
}

// statesAs changes what is told of a key.
func statesAs(f func(*driver.State)) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, broken: broken{inspect: func(ctx context.Context, key string, waiters int) (driver.State, error) {
			s, err := whole(p).Inspect(ctx, key, waiters)
			f(&s)
			return s, err
		}}}
	}
}

// forceAs changes what is to be taken by force, from whom is known.
func forceAs(f func(full, *driver.ForceRequest)) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, broken: broken{force: func(ctx context.Context, req driver.ForceRequest) (bool, error) {
			f(whole(p), &req)
			return whole(p).ForceRelease(ctx, req)
		}}}
	}
}
