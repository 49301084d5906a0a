package engine

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"time"

	"github.com/google/uuid"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// Order is an execution to be begun.
type Order struct {
	Plan *plan.Plan
	// ID is the caller's; empty asks for a generated one.
	ID    string
	Input []byte
	// Identity is what tells the input from others; nil is Input itself.
	Identity []byte
	// Timeout bounds the time of the execution; zero is without a bound.
	Timeout time.Duration
	// Parent is set for children.
	Parent *store.Parent
	// Awaited says that the caller is going to call [Run.Wait].
	Awaited bool
}

func (o *Order) identity() []byte {
	if o.Identity != nil {
		return o.Identity
	}
	return o.Input
}

// Begin creates an execution and drives it. When there is one with its key and
// input already, that one is returned; with another input it is [ErrIDConflict].
func (e *Engine) Begin(ctx context.Context, o Order) (*Run, error) {
	generated := o.ID == ""
	if generated {
		u, err := e.ids.next()
		if err != nil {
			return nil, fmt.Errorf("workflow: generate an execution id: %w", err)
		}
		o.ID = u.String()
	}
	r, err := e.admit(o.Plan, store.Key{Workflow: o.Plan.Name, ID: o.ID})
	if err != nil {
		return nil, err
	}
	if o.Awaited {
		r.waiting.Store(1)
		r.expected.Store(true)
	}
	if err := r.create(ctx, o, generated); err != nil {
		r.abandon(err)
		return nil, err
	}
	return r, nil
}

// admit registers a run, so that a stop waits for it.
func (e *Engine) admit(p *plan.Plan, key store.Key) (*Run, error) {
	r := beginRun(e, p, key) // before everybody else has to wait for it
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.running {
		return nil, ErrNotRunning
	}
	e.ended.Add(1)
	return r, nil
}

// create writes the execution with all that follows from its beginning, and
// claims it in the same write.
func (r *Run) create(ctx context.Context, o Order, generated bool) error {
	now := time.Now()
	uid := r.key.ID // one that was made for it is like no other
	if !generated {
		uid = uuid.NewString()
	}
	id := store.Identity{
		Key: r.key, RunUID: uid, Fingerprint: r.plan.Fingerprint,
		Codec: r.e.cfg.Codec.Name(), Input: o.Input, InputHash: r.e.hash(r.room.hash[:0], o.identity()),
		Generated: generated, CreatedAt: now, Parent: o.Parent,
	}
	if o.Timeout > 0 {
		id.Deadline = now.Add(o.Timeout)
	}
	r.s.Init(r.plan, &id, store.Fence{Owner: r.e.me, Epoch: 1})
	if !generated {
		created, err := r.e.alone(ctx, r.key)
		if err != nil {
			return fmt.Errorf("workflow: create %s: %w", r.key, err)
		}
		defer created()
		// What is recorded is not decided again: look before deciding.
		existing, err := r.e.cfg.Store.Load(ctx, r.key)
		if err == nil {
			return r.join(existing)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("workflow: create %s: %w", r.key, err)
		}
	}
	r.open()
	commands, err := r.decide(machine.Begun{}, now)
	if err != nil {
		return err
	}
	r.s.Revision = 1 // of the write that creates it
	r.s.DueAt = r.s.NextDue()
	b := newBatch()
	defer b.free()
	x := &b.create
	b.created = true
	*x = store.Snapshot{Identity: id, Fence: r.s.Fence, Head: r.s.Head, Cells: r.s.FlushIn(&b.cells)}
	// Nobody else can have begun one with an id that was just made: it needs no owner whom
	// the store would refuse to begin it once more. Nor can anybody claim it before its time.
	rests := generated && len(commands) == 0 && r.sleepsLong() && r.mayRest()
	var until time.Time
	if rests {
		until = now.Add(x.DueAt.Sub(now) / 2)
	}
	if rests || x.State.Finished() && !x.Unsettled {
		x.Owner = store.Instance{} // nobody drives it any more, or yet
	}
	if r.e.base.Err() != nil { // what it was asked before may have had its answer late
		return fmt.Errorf("workflow: create %s: %w", r.key, context.Cause(r.e.base))
	}
	existing, err := r.e.insert(ctx, x, until)
	if err != nil {
		return fmt.Errorf("workflow: create %s: %w", r.key, err)
	}
	if existing != nil {
		return r.join(existing)
	}
	if rests {
		r.gone()
		r.drop() // no goroutine has ever had it
		return nil
	}
	if r.s.State.Finished() {
		r.e.waits.tell(r.key)
	}
	r.commands = commands
	r.take(begun{}) // before anything that others send, a timer among them
	r.wait()
	r.e.mu.Lock()
	r.e.runs[r.key] = r
	r.e.mu.Unlock()
	r.e.workers.do(job{r: r})
	if err := context.Cause(r.e.base); err != nil {
		r.post(interrupted{err}) // it was begun behind the back of a stop
	}
	return nil
}

// alone waits until nobody else of this engine creates the execution: whoever
// finds it in the store then finds its run too. The answer ends the turn.
func (e *Engine) alone(ctx context.Context, key store.Key) (end func(), err error) {
	for {
		e.mu.Lock()
		other, taken := e.creating[key]
		if !taken {
			mine := make(chan struct{})
			e.creating[key] = mine
			e.mu.Unlock()
			return func() {
				e.mu.Lock()
				delete(e.creating, key)
				e.mu.Unlock()
				close(mine)
			}, nil
		}
		e.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// join makes the run stand for an execution that exists.
func (r *Run) join(existing *store.Snapshot) error {
	if !hmac.Equal(existing.InputHash, r.s.InputHash) || existing.Codec != r.s.Codec {
		return fmt.Errorf("%w: %s", ErrIDConflict, r.key)
	}
	r.joined = true
	r.e.mu.Lock()
	if r.first = r.e.runs[r.key]; r.first != nil {
		r.first.share()
	}
	r.e.mu.Unlock()
	r.end(nil)
	return nil
}

// hash appends what tells inputs apart without keeping their text.
func (e *Engine) hash(to, input []byte) []byte {
	h, ok := e.macs.Get().(hash.Hash)
	if !ok {
		h = hmac.New(sha256.New, []byte(e.info.ID))
	}
	defer e.macs.Put(h)
	h.Reset()
	h.Write(e.hashed) // never fails, as hash.Hash says
	h.Write(input)
	return h.Sum(to)
}
