package simulation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

var (
	errDead = errors.New("simulation: the instance is dead")
	errLost = errors.New("simulation: no answer came")
)

// conn is the store as an instance sees it.
type conn struct{ in *instance }

var _ store.Store = (*conn)(nil)

// request is one call of a server, on its way.
type request struct {
	in     *instance
	f      fate
	op     string
	what   string
	server string // "store" or "locks"
	again  repeat
}

// repeat says how late a copy of a request may come that is sent twice.
type repeat int

const (
	soon repeat = iota // before its sender has the answer
	late               // when much else may have happened
)

func (in *instance) request(server, op, id string, again repeat) request {
	n := in.count(server + "/" + op + "/" + id)
	return request{
		in: in, f: in.w.f.of("call", in.name, server, op, id).num(uint64(n)),
		op: op, what: op + " " + id, server: server, again: again,
	}
}

// call sends a request: do is what the server does with it, and has the world's mu
// where the server is the store.
func call[T any](ctx context.Context, r request, do func() (T, error)) (answer T, err error) {
	in, w := r.in, r.in.w
	trouble := !w.calm()
	if err := in.stopped(ctx); err != nil {
		return answer, err
	}
	if trouble && r.f.is("crash before", w.p.crashBefore) {
		w.tally.note("an instance dies before it sends")
		time.Sleep(r.f.between("moment", time.Microsecond, 50*time.Microsecond)) // what begins with this call has begun
		in.kill("before it sends: " + r.what)
		return answer, errDead
	}
	if trouble && r.op == "write" && r.f.is("freeze", w.p.freeze) {
		in.freeze(r.f.between("stands still", 0, lease/2+lease/6))
	}
	if err := in.travel(ctx, r, "request"); err != nil {
		if r.f.is("arrives", 0.5) { // it was sent, although nobody waits for the answer
			w.tally.note("a request arrives though nobody waits for it")
			w.later(r.f.skewed("late", time.Millisecond, time.Second), func() { _, _ = do() })
		}
		return answer, err
	}
	if trouble && (r.f.is("lost request", w.p.lostRequest) || r.starved()) {
		w.tally.note("a request is lost")
		return answer, in.lose(ctx, r)
	}
	answer, err = do()
	if w.unanswered != nil && w.unanswered(r) {
		return answer, in.lose(ctx, r)
	}
	switch {
	case !trouble || !r.f.is("double", w.p.double):
	case r.again == late:
		w.tally.note("a request comes again late")
		w.later(r.f.skewed("again", time.Millisecond, 3*time.Second), func() { _, _ = do() })
	default:
		w.tally.note("a request comes twice")
		if err := in.travel(ctx, r, "copy"); err != nil {
			return answer, err
		}
		answer, err = do() // whoever sends it again waits for the answer to that
	}
	if trouble && r.f.is("crash after", w.p.crashAfter) {
		w.tally.note("an instance dies before it hears the answer")
		in.kill("before it hears the answer to: " + r.what)
		return answer, errDead
	}
	if trouble && r.f.is("lost reply", w.p.lostReply) {
		w.tally.note("a reply is lost")
		return answer, in.lose(ctx, r)
	}
	if err := in.travel(ctx, r, "reply"); err != nil {
		return answer, err
	}
	return answer, err
}

func (r request) starved() bool {
	starved := r.op == "heartbeat" && r.in.starving() && r.f.is("starved", r.in.w.p.starve)
	if starved {
		r.in.w.tally.note("a heartbeat gets no answer")
	}
	return starved
}

// lose lets the time pass after which a lost message is given up.
func (in *instance) lose(ctx context.Context, r request) error {
	in.w.mu.Lock()
	in.w.logf(in.name, "loses %s", r.what)
	in.w.mu.Unlock()
	if err := in.pass(ctx, r.f.skewed("patience", time.Millisecond, time.Second)); err != nil {
		return err
	}
	return fmt.Errorf("%w to %s", errLost, r.what)
}

// travel lets the time pass that a message takes. It ends with ctx, and with the
// instance.
func (in *instance) travel(ctx context.Context, r request, way string) error {
	d := r.f.skewed(way, 20*time.Microsecond, in.w.p.delay)
	if d > 100*time.Millisecond {
		in.w.tally.note("a message takes long")
	}
	if cut := in.cutFor(r.server); cut > 0 {
		in.w.tally.note("an instance is cut off")
		in.w.mu.Lock()
		in.w.logf(in.name, "hangs in the %s of %s", way, r.what)
		in.w.mu.Unlock()
		d += cut
	}
	return in.pass(ctx, d)
}

// pass lets time pass.
func (in *instance) pass(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return in.stopped(ctx)
	case <-ctx.Done():
	case <-in.died:
	}
	if in.dead() {
		return errDead
	}
	time.Sleep(moment(d))
	return context.Cause(ctx)
}

// moment is how long it takes to notice that a context has ended: contexts of several
// often do at once, and what follows is to have an order.
func moment(d time.Duration) time.Duration { return time.Microsecond + d%(20*time.Microsecond) }

func (in *instance) stopped(ctx context.Context) error {
	select {
	case <-in.died:
		return errDead
	default:
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// later has something done after a while, whatever becomes of whoever asks for it.
func (w *world) later(d time.Duration, do func()) {
	w.loose.Add(1)
	time.AfterFunc(d, func() {
		defer w.loose.Done()
		do()
	})
}

// at makes a call of the store.
func at[T any](ctx context.Context, c *conn, op, id string, again repeat, do func(s *server) (T, error)) (T, error) {
	return call(ctx, c.in.request("store", op, id, again), func() (T, error) {
		w := c.in.w
		w.mu.Lock()
		defer w.mu.Unlock()
		return do(w.store)
	})
}

type nothing struct{}

func cloneCells(cells []store.Cell) []store.Cell {
	list := slices.Clone(cells)
	for i := range list {
		list[i].Data = bytes.Clone(list[i].Data)
	}
	return list
}

// Describe implements [store.Store].
func (c *conn) Describe() store.Info { return store.Info{ID: "sim", Durable: true, Shared: true} }

// Create implements [store.Store].
func (c *conn) Create(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
	own := *x
	own.Cells = cloneCells(x.Cells)
	return at(ctx, c, "create", c.in.w.nameNow(x.Key), soon, func(s *server) (*store.Snapshot, error) { return s.create(c, &own) })
}

// Commit implements [store.Store].
func (c *conn) Commit(ctx context.Context, writes []store.Write) []error {
	errs := make([]error, len(writes))
	for i := range writes {
		w := writes[i] // it may arrive when its caller uses its memory for something else
		w.Cells, w.Consumed = cloneCells(w.Cells), slices.Clone(w.Consumed)
		id := fmt.Sprintf("%s %d.%d", c.in.w.nameNow(w.Key), w.Fence.Epoch, w.Fence.Revision)
		r := c.in.request("store", "write", id, late)
		_, errs[i] = call(ctx, r, func() (nothing, error) {
			c.in.w.mu.Lock()
			defer c.in.w.mu.Unlock()
			return nothing{}, c.in.w.store.commit(c, &w, r.f)
		})
	}
	return errs
}

// Claim implements [store.Store].
func (c *conn) Claim(ctx context.Context, cl store.Claim) ([]store.Claimed, error) {
	return at(ctx, c, "claim", "", soon, func(s *server) ([]store.Claimed, error) { return s.claims(c, &cl) })
}

// Heartbeat implements [store.Store].
func (c *conn) Heartbeat(ctx context.Context, i store.Instance, d time.Duration) error {
	c.in.introduce(i)
	_, err := at(ctx, c, "heartbeat", "", late, func(s *server) (nothing, error) { return nothing{}, s.heartbeat(i, d) })
	return err
}

// Release implements [store.Store].
func (c *conn) Release(ctx context.Context, i store.Instance, held []store.Held) error {
	_, err := at(ctx, c, "release", "", late, func(s *server) (nothing, error) {
		s.release(i, held)
		return nothing{}, nil
	})
	return err
}

// End implements [store.Store].
func (c *conn) End(ctx context.Context, i store.Instance) error {
	_, err := at(ctx, c, "end", "", late, func(s *server) (nothing, error) {
		s.end(i)
		s.w.logf(c.in.name, "has ended its lease")
		return nothing{}, nil
	})
	return err
}

// Deliver implements [store.Store].
func (c *conn) Deliver(ctx context.Context, key store.Key, m store.Message) error {
	id := c.in.w.nameNow(key)
	m.Data = bytes.Clone(m.Data)
	_, err := at(ctx, c, "deliver", id, late, func(s *server) (nothing, error) { return nothing{}, s.deliver(c, key, m) })
	return err
}

// Inbox implements [store.Store].
func (c *conn) Inbox(ctx context.Context, key store.Key) ([]store.Message, error) {
	return at(ctx, c, "inbox", c.in.w.nameNow(key), soon, func(s *server) ([]store.Message, error) {
		x, err := s.load(key)
		if err != nil {
			return nil, err
		}
		return x.Inbox, nil
	})
}

// Unread implements [store.Store].
func (c *conn) Unread(ctx context.Context, i store.Instance) ([]store.Key, error) {
	return at(ctx, c, "unread", "", soon, func(s *server) ([]store.Key, error) { return s.unread(i), nil })
}

// Load implements [store.Store].
func (c *conn) Load(ctx context.Context, key store.Key) (*store.Snapshot, error) {
	return at(ctx, c, "load", c.in.w.nameNow(key), soon, func(s *server) (*store.Snapshot, error) { return s.load(key) })
}

// List implements [store.Store].
func (c *conn) List(context.Context, store.Query) (store.Page, error) {
	return store.Page{}, errors.New("simulation: no engine lists")
}

// Watch implements [store.Store].
func (c *conn) Watch(ctx context.Context, _ store.Instance, tell func(store.Notice)) error {
	w := c.in.w
	t := &watcher{c: c, tell: tell}
	w.mu.Lock()
	w.store.watchers = append(w.store.watchers, t)
	t.send(store.Notice{Missed: true})
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		t.off = true
		w.mu.Unlock()
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-c.in.died:
		return errDead
	}
}

// Forget implements [store.Store].
func (c *conn) Forget(ctx context.Context, key store.Key, runUID string) error {
	_, err := at(ctx, c, "forget", c.in.w.nameNow(key), soon, func(s *server) (nothing, error) { return nothing{}, s.forget(key, runUID) })
	return err
}

// Close implements [store.Store].
func (c *conn) Close(context.Context) error { return nil }
