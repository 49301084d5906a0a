package simulation

import (
	"fmt"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
)

// ledger is the world outside: what bodies do to it, and when.
type ledger struct {
	deeds   []*deed
	byPlace map[string][]*deed // and phase
	keys    map[string]string  // which place and phase each idempotency key is of
	effects map[string]*effect // by place
	results map[string][]val   // that were told of asynchronous steps
	guarded map[string]*resource
}

// deed is one call of a body.
type deed struct {
	f      fate
	n      *spec
	m      *mirror
	in     *instance
	at     store.Place
	place  string // its execution's name, its step and its items
	invoke bool
	number int
	key    string
	began  time.Duration
	tokens map[string]uint64

	told     bool // its context has ended
	toldAt   time.Duration
	over     bool // its body has returned
	ended    time.Duration
	out      val
	undo     keep
	err      error
	broke    bool // it panics, or ends its goroutine
	reported bool // it has returned while its process lived
}

// succeeded says that the body has come to its result, and its process has seen that.
func (d *deed) succeeded() bool { return d.reported && d.err == nil && !d.broke }

func (d *deed) name() string {
	phase := "undo of "
	if d.invoke {
		phase = ""
	}
	return fmt.Sprintf("%s%s, attempt %d", phase, d.place, d.number)
}

func (d *deed) x() string {
	if d.m == nil {
		return ""
	}
	return d.m.name
}

// effect is what a step has brought about outside.
type effect struct {
	done   int // how often it was brought about, under one key
	undone bool
	late   int // it came after it was undone, and was refused
}

// resource is something outside that a key stands for.
type resource struct {
	token  uint64
	owner  string // the execution that wrote last
	writes int
}

func newLedger() *ledger {
	return &ledger{
		byPlace: map[string][]*deed{}, keys: map[string]string{}, effects: map[string]*effect{},
		results: map[string][]val{}, guarded: map[string]*resource{},
	}
}

func phaseName(invoke bool) string {
	if invoke {
		return "invoke"
	}
	return "compensate"
}

// begins notes that a body begins. It requires mu.
func (w *world) begins(in *instance, n *spec, ctx *steps.Context, invoke bool, x string, number uint64) *deed {
	ref := ctx.Ref()
	e := w.find(ref)
	d := &deed{
		n: n, in: in, invoke: invoke, number: ctx.Attempt(), key: ctx.IdempotencyKey(),
		began: w.now(), tokens: map[string]uint64{},
	}
	execution := "?"
	if e != nil {
		d.m = e.seen
		execution = d.m.name
	}
	d.place = execution + "/" + n.name + itemText(ref.Items)
	id := d.place + " " + phaseName(invoke)
	d.f = w.f.of("body", id).num(uint64(len(w.ledger.byPlace[id])))
	if in.dead() {
		return d // its process is no more
	}
	w.ledger.byPlace[id] = append(w.ledger.byPlace[id], d)
	w.ledger.deeds = append(w.ledger.deeds, d)
	w.judgeBegin(d, id, ref.Items, x, number, ctx)
	return d
}

// finish notes that a body has ended.
func (in *instance) finish(d *deed, out val, undo keep, err error) {
	w := in.w
	w.mu.Lock()
	defer w.mu.Unlock()
	d.over, d.ended, d.out, d.undo, d.err = true, w.now(), out, undo, err
	if !in.dead() {
		d.reported = true
		w.logf(in.name, "ends %s: %v %v", d.name(), out.N, err)
	}
}

// effect brings about what a body is for. The world outside knows the keys: what was
// undone is not done any more.
func (w *world) effect(d *deed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d.in.dead() {
		return
	}
	e := w.ledger.effects[d.place]
	if e == nil {
		e = &effect{}
		w.ledger.effects[d.place] = e
	}
	switch {
	case !d.invoke:
		e.undone = true
		w.logf(d.in.name, "has undone %s", d.place)
	case e.undone:
		e.late++
		w.logf(d.in.name, "would do %s, which was undone", d.place)
	default:
		e.done++
		w.logf(d.in.name, "has done %s", d.place)
	}
}

// accept answers a write under a key: a token that is older than one that was seen is
// refused. It requires mu.
func (w *world) accept(d *deed, key string, token uint64) bool {
	r := w.ledger.guarded[key]
	if r == nil {
		r = &resource{}
		w.ledger.guarded[key] = r
	}
	if token < r.token {
		w.logf(d.in.name, "token %d of %s is refused for %s", token, key, d.place)
		return false
	}
	if token == r.token && r.owner != d.x() {
		w.faultf("I7: %s and %s write under %s with one token, %d", r.owner, d.x(), key, token)
	}
	r.token, r.owner = token, d.x()
	r.writes++
	return true
}
