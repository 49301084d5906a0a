package lockhistory

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Caller calls a provider and records what it sees. One goroutine uses it.
type Caller struct {
	Provider driver.Inspector
	Recorder *Recorder
	Worker   int
}

func (c *Caller) begin(kind Kind, keys ...string) []Op {
	ops := make([]Op, len(keys))
	for i, k := range keys {
		ops[i] = Op{Kind: kind, Key: k, Worker: c.Worker}
	}
	return ops
}

// Acquire asks for keys.
func (c *Caller) Acquire(ctx context.Context, kind Kind, req driver.Request) (driver.Grant, error) {
	ops := c.begin(kind, req.Keys...)
	for i := range ops {
		ops[i].Owner, ops[i].Gen = req.Owner, req.Generation
	}
	c.Recorder.begin(ops)
	g, err := c.Provider.Acquire(ctx, req)
	for i := range ops {
		op := &ops[i]
		switch {
		case err == nil:
			h := g.Holds[i]
			op.Outcome, op.Token, op.Joined, op.Until = Yes, h.Token, h.Joined, c.Recorder.Clock.At(h.Until)
			if h.Key != op.Key || h.Owner != op.Owner || h.Generation != op.Gen || h.Token == 0 {
				op.Outcome, op.Err = Wrong, fmt.Sprintf("answered with %+v", h)
			}
		case errors.Is(err, driver.ErrBusy), errors.Is(err, driver.ErrRevoked):
			op.Outcome, op.Err = No, err.Error()
		default:
			op.Err = err.Error()
		}
	}
	c.Recorder.end(ops)
	return g, err
}

func (c *Caller) holds(kind Kind, holds []driver.Hold) []Op {
	ops := make([]Op, len(holds))
	for i, h := range holds {
		ops[i] = Op{Kind: kind, Key: h.Key, Owner: h.Owner, Gen: h.Generation, Token: h.Token, Worker: c.Worker}
	}
	return ops
}

// Extend extends the holds of a request by the time to live that it had: a shorter one
// would end an offer before its Until. The model relies on it.
func (c *Caller) Extend(ctx context.Context, req driver.Request, holds []driver.Hold) ([]driver.Extension, error) {
	ops := c.holds(Extend, holds)
	c.Recorder.begin(ops)
	answers, err := c.Provider.Extend(ctx, req.TTL, holds)
	for i := range ops {
		op := &ops[i]
		switch {
		case err != nil:
			op.Err = err.Error()
		case answers[i].Err != nil:
			op.Err = answers[i].Err.Error()
		case answers[i].Held:
			op.Outcome, op.Until = Yes, c.Recorder.Clock.At(answers[i].Until)
		case answers[i].Revoked:
			op.Outcome = Revoked
		default:
			op.Outcome = No
		}
	}
	c.Recorder.end(ops)
	return answers, err
}

// Release frees holds, which have tokens.
func (c *Caller) Release(ctx context.Context, holds []driver.Hold) error {
	ops := c.holds(Release, holds)
	c.Recorder.begin(ops)
	freed, err := c.Provider.Release(ctx, holds)
	for i := range ops {
		ops[i].settle(err, err == nil && freed[i])
	}
	c.Recorder.end(ops)
	return err
}

// ReleaseAll frees what an owner has, which is at most some of the keys.
func (c *Caller) ReleaseAll(ctx context.Context, owner string, keys []string) error {
	ops := c.begin(ReleaseAll, keys...)
	for i := range ops {
		ops[i].Owner = owner
	}
	c.Recorder.begin(ops)
	_, err := c.Provider.ReleaseAll(ctx, owner)
	for i := range ops {
		ops[i].settle(err, true)
	}
	c.Recorder.end(ops)
	return err
}

// Force takes a key from its holder.
func (c *Caller) Force(ctx context.Context, h driver.Hold, now bool) error {
	kind := Force
	if now {
		kind = ForceNow
	}
	ops := c.holds(kind, []driver.Hold{h})
	c.Recorder.begin(ops)
	done, err := c.Provider.ForceRelease(ctx, driver.ForceRequest{Key: h.Key, Owner: h.Owner, Token: h.Token, Reason: "history", Now: now})
	ops[0].settle(err, done)
	c.Recorder.end(ops)
	return err
}

// Inspect looks who waits for a key.
func (c *Caller) Inspect(ctx context.Context, key string) (driver.State, error) {
	ops := c.begin(Inspect, key)
	c.Recorder.begin(ops)
	s, err := c.Provider.Inspect(ctx, key, 100)
	if err == nil {
		for _, w := range s.Waiters {
			if !w.Aside {
				ops[0].Waiters = append(ops[0].Waiters, w.Owner)
			}
		}
	}
	ops[0].settle(err, true)
	c.Recorder.end(ops)
	return s, err
}

func (o *Op) settle(err error, done bool) {
	switch {
	case err != nil:
		o.Err = err.Error()
	case done:
		o.Outcome = Yes
	default:
		o.Outcome = No
	}
}
