package simulation

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
)

var (
	errBody    = errors.New("the body has failed")
	errRefused = errors.New("the world outside refuses the token")
)

// ending is what a body comes to.
type ending string

const (
	succeeds ending = "succeeds"
	fails    ending = "fails"
	forGood  ending = "fails for good"
	later    ending = "asks for a pause"
	keeps    ending = "fails, and keeps its undo data"
	skips    ending = "skips"
	panics   ending = "panics"
	exits    ending = "exits"
	kills    ending = "kills its process"
)

// nature is what a body does, decided when it begins.
type nature struct {
	ending ending
	takes  time.Duration
	heeds  bool // the end of its context
	early  bool // its effect comes before it waits
	effect bool // when it does not succeed
}

func (w *world) nature(d *deed, n *spec, invoke bool) nature {
	p, f := w.p, d.f
	b := nature{ending: succeeds, takes: f.skewed("takes", time.Microsecond, 2*time.Second), heeds: !f.is("deaf", 0.2), early: f.is("early", 0.5), effect: f.is("effect", 0.5)}
	if f.is("long", 0.08) {
		b.takes = f.between("takes long", time.Second, 6*time.Second)
	}
	if f.is("fails", p.fails) {
		b.ending = pick(f, "how", fails, fails, fails, forGood, later, keeps, panics, exits)
		if b.ending == keeps && !invoke {
			b.ending = fails
		}
	} else if invoke && f.is("skips", 0.04) {
		b.ending, b.effect = skips, false
	}
	if !w.calm() {
		poison := w.f.of("poison", n.seq.flow.name, n.name).is("poison", p.poison)
		if poison && invoke || f.is("kills", p.crashBody) {
			b.ending = kills
		}
	}
	return b
}

// invoke is the body of each step.
func (in *instance) invoke(n *spec, ctx *steps.Context, v val) (out val, undo keep, err error) {
	d, b := in.begin(n, ctx, true, v.X, v.N)
	out = val{X: d.x(), N: d.f.of("output").roll() >> 12}
	undo = keep{X: d.x(), U: d.f.of("undo").roll() >> 12}
	defer func() { in.finish(d, out, undo, err) }()
	if n.verb == asyncVerb {
		in.w.outsider(d, ctx.Ref())
	}
	if err := in.act(d, b, ctx); err != nil {
		return out, undo, err
	}
	return out, undo, in.come(d, b)
}

// compensate is the other body of each step.
func (in *instance) compensate(n *spec, ctx *steps.Context, x string, u uint64) (err error) {
	d, b := in.begin(n, ctx, false, x, u)
	defer func() { in.finish(d, val{}, keep{}, err) }()
	if err := in.act(d, b, ctx); err != nil {
		return err
	}
	return in.come(d, b)
}

func (in *instance) begin(n *spec, ctx *steps.Context, invoke bool, x string, number uint64) (*deed, nature) {
	w := in.w
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.begins(in, n, ctx, invoke, x, number)
	b := w.nature(d, n, invoke)
	if w.changeNature != nil {
		w.changeNature(d, &b)
	}
	w.tally.note("a body " + string(b.ending))
	w.logf(in.name, "begins %s, which %s", d.name(), b.ending)
	return d, b
}

// act is all that a body does but for its end.
func (in *instance) act(d *deed, b nature, ctx *steps.Context) error {
	time.Sleep(d.f.between("moment", time.Microsecond, 20*time.Microsecond)) // several may begin at once
	if in.dead() {
		return errDead
	}
	defer context.AfterFunc(ctx, func() {
		in.w.mu.Lock()
		defer in.w.mu.Unlock()
		d.told, d.toldAt = true, in.w.now()
	})()
	if err := in.hold(d, ctx); err != nil {
		return err
	}
	if err := in.lockOwn(d, ctx); err != nil {
		return err
	}
	does := b.ending == succeeds || b.effect
	if does && b.early {
		in.w.effect(d)
	}
	if err := in.wait(b, ctx); err != nil {
		return err
	}
	if b.ending == kills {
		in.w.tally.note("an instance dies in a body")
		in.w.marked(d)
		in.kill("in " + d.name())
		return errDead
	}
	if does && !b.early {
		in.w.effect(d)
	}
	return in.fence(d)
}

func (in *instance) wait(b nature, ctx context.Context) error {
	t := time.NewTimer(b.takes)
	defer t.Stop()
	over := ctx.Done()
	if !b.heeds {
		over = nil
	}
	select {
	case <-t.C:
		return nil
	case <-over:
	case <-in.died:
	}
	if in.dead() {
		return errDead
	}
	time.Sleep(moment(b.takes))
	return context.Cause(ctx)
}

// hold finds out which of the keys the execution holds around the body, and with which
// tokens.
func (in *instance) hold(d *deed, ctx context.Context) error {
	for _, k := range d.n.seq.flow.keys {
		l, err := locking.Held(ctx, k)
		if errors.Is(err, locking.ErrNotHeld) {
			continue
		}
		if err != nil {
			return err
		}
		d.tokens[k] = uint64(l.Token(k))
		l.Close()
	}
	in.w.mu.Lock()
	in.w.holds(d)
	in.w.mu.Unlock()
	return in.fence(d)
}

// lockOwn takes a lock for the step, which it leaves to its sequence.
func (in *instance) lockOwn(d *deed, ctx context.Context) error {
	if d.n.step.locks == "" || !d.invoke {
		return nil
	}
	_, err := in.locks.Acquire(ctx, locking.Keys(d.n.step.locks), locking.Wait(2*time.Second))
	return err
}

// fence writes to what the keys stand for, outside, which refuses older tokens.
func (in *instance) fence(d *deed) error {
	in.w.mu.Lock()
	defer in.w.mu.Unlock()
	if in.dead() {
		return errDead
	}
	for _, k := range d.n.seq.flow.keys {
		if t := d.tokens[k]; t != 0 && !in.w.accept(d, k, t) {
			return errRefused
		}
	}
	return nil
}

// come ends a body as its nature says.
func (in *instance) come(d *deed, b nature) error {
	d.broke = b.ending == panics || b.ending == exits
	switch b.ending {
	case fails:
		return errBody
	case forGood:
		return steps.Permanent(errBody)
	case later:
		return steps.RetryAfter(errBody, d.f.skewed("later", 0, 3*time.Second))
	case keeps:
		return steps.KeepUndo(errBody)
	case skips:
		return steps.Skip()
	case panics:
		panic(errBody)
	case exits:
		runtime.Goexit()
	}
	return nil
}

// outsider makes the result of an asynchronous step come, early, late or twice.
func (w *world) outsider(d *deed, ref steps.Ref) {
	f := d.f.of("outsider")
	times := 1
	if f.is("twice", 0.2) {
		times = 2
	}
	for i := range times {
		f := f.num(uint64(i))
		w.hands.Go(func() {
			w.pause(f.skewed("after", 0, 8*time.Second))
			w.tell(d, ref, f)
		})
	}
}

// tell gives an asynchronous step its result, until an engine has taken it.
func (w *world) tell(d *deed, ref steps.Ref, f fate) {
	out := val{X: d.x(), N: f.of("result").roll() >> 12}
	for n := uint64(0); !w.ended(); n++ {
		in := w.any(f.num(n))
		if in == nil {
			w.pause(f.num(n).between("nobody", 10*time.Millisecond, time.Second))
			continue
		}
		fail := f.is("fails", w.p.fails)
		w.mu.Lock()
		if !fail {
			w.ledger.results[d.place] = append(w.ledger.results[d.place], out)
		}
		w.logf("client", "tells %s of the result of %s: %v, failed %v", in.name, d.place, out, fail)
		w.mu.Unlock()
		ctx, cancel := context.WithTimeout(in.life, 5*time.Second)
		err := w.complete(ctx, in, ref, out, fail, f)
		cancel()
		w.mu.Lock()
		w.asidef("client", "has told %s of %s: %s", in.name, d.place, in.outcome(err))
		w.mu.Unlock()
		if taken(err) {
			if err == nil && fail {
				w.tally.note("a failure comes from outside")
			} else if err == nil {
				w.tally.note("a result comes from outside")
			}
			return
		}
		w.pause(f.num(n).between("again", 10*time.Millisecond, time.Second))
	}
}
