package simulation

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

// val is what goes through random workflows. X names the execution, as far as it is
// known, and N is different in each attempt that makes one.
type val struct {
	X string
	N uint64
}

// keep is undo data that is not the output.
type keep struct {
	X string
	U uint64
}

type (
	builder = workflow.Builder
	value   = workflow.Value[val]
	work    = workflow.Workflow[val, val]
)

// composer makes a workflow of a flow for one instance, whose bodies know that they run
// there.
type composer struct {
	in   *instance
	made map[*flow]*work
}

func (c *composer) compose(fl *flow) *work {
	if w := c.made[fl]; w != nil {
		return w
	}
	for _, n := range fl.nodes {
		if n.child != nil {
			c.compose(n.child)
		}
	}
	w := workflow.New(fl.name, func(b *builder, in value) value { return c.sequence(b, fl.root, in) })
	c.made[fl] = w
	return w
}

// sequence composes what stands in a sequence, and returns what it gives.
func (c *composer) sequence(b *builder, s *seq, given value) value {
	values := map[*spec]value{nil: given}
	for i := 0; i < len(s.nodes); i++ {
		n := s.nodes[i]
		in := values[n.in]
		if n.verb == transformVerb && n.kind != toValue {
			i++ // it belongs to the node behind it
			switch next := s.nodes[i]; n.kind {
			case toMoment:
				c.sleepUntil(b, n, next, in)
			case toKeys:
				values[next] = c.guard(b, n, next, in)
			case toItems:
				values[s.nodes[i+1]] = c.each(b, n, next, s.nodes[i+1], in)
				i++
			}
			continue
		}
		switch n.verb {
		case doVerb, asyncVerb:
			values[n] = workflow.Do(b, c.step(n), in)
		case transformVerb:
			values[n] = workflow.Transform(b, in, func(v val) (val, error) { return c.in.decide(n, v) })
		case sleepVerb:
			workflow.Sleep(b, time.Duration(1+n.index)*700*time.Millisecond)
		case parallelVerb:
			i++
			values[s.nodes[i]] = c.parallel(b, n, s.nodes[i], in)
		case whenVerb:
			i++
			maybe := workflow.When(b, in, c.predicate(n), func(b *builder) value { return c.sequence(b, n.branches[0], in) })
			one := s.nodes[i]
			values[one] = workflow.Map(b, maybe, func(m workflow.Maybe[val]) val { return c.in.join(one, m.Or(val{N: 1})) })
		case whenElseVerb:
			values[n] = workflow.WhenElse(b, in, c.predicate(n),
				func(b *builder) value { return c.sequence(b, n.branches[0], in) },
				func(b *builder) value { return c.sequence(b, n.branches[1], in) })
		case callVerb:
			values[n] = workflow.Call(b, c.made[n.child], in)
		}
	}
	return values[s.out]
}

func (c *composer) predicate(n *spec) func(val) (bool, error) {
	return func(v val) (bool, error) {
		f, err := c.in.decision(n, v)
		return f.is("yes", 0.7), err
	}
}

func (c *composer) sleepUntil(b *builder, n, sleep *spec, in value) {
	if sleep.kind == 1 {
		workflow.SleepFor(b, workflow.Transform(b, in, func(v val) (time.Duration, error) {
			f, err := c.in.decision(n, v)
			return f.skewed("sleep", 0, 10*time.Second), err
		}))
		return
	}
	workflow.SleepUntil(b, workflow.Transform(b, in, func(v val) (time.Time, error) {
		f, err := c.in.decision(n, v)
		return time.Now().Add(f.skewed("sleep", -time.Second, 10*time.Second)), err
	}))
}

func (c *composer) guard(b *builder, n, guard *spec, in value) value {
	body := func(b *builder) value { return c.sequence(b, guard.branches[0], in) }
	opts := []workflow.GuardOption{workflow.MaxHold(20 * time.Minute)}
	if guard.kind == 1 {
		opts = append(opts, workflow.MaxWait(time.Duration(1+guard.index)*time.Second))
	}
	if guard.again {
		opts = append(opts, workflow.OnLost(workflow.Reacquire))
	}
	if guard.kind == 2 {
		return workflow.Guard(b, workflow.Transform(b, in, func(v val) (string, error) {
			f, err := c.in.decision(n, v)
			return pick(f, "key", guard.seq.flow.keys...), err
		}), body, opts...)
	}
	return workflow.Guard(b, workflow.Transform(b, in, func(v val) ([]string, error) {
		f, err := c.in.decision(n, v)
		list := slices.Clone(guard.seq.flow.keys[:1+f.below("keys", 2)])
		return append(list, pick(f, "key", guard.seq.flow.keys...)), err
	}), body, opts...)
}

func (c *composer) each(b *builder, items, each, one *spec, in value) value {
	list := workflow.Transform(b, in, func(v val) ([]val, error) {
		f, err := c.in.decision(items, v)
		made := make([]val, f.below("items", 4))
		for i := range made {
			made[i] = val{X: v.X, N: f.num(uint64(i)).roll() >> 12}
		}
		return made, err
	})
	var opts []workflow.EachOption
	if each.limit > 0 {
		opts = append(opts, workflow.Concurrency(each.limit))
	}
	all := workflow.ForEach(b, list, func(b *builder, item value) value { return c.sequence(b, each.branches[0], item) }, opts...)
	return workflow.Map(b, all, func(list []val) val { return c.in.join(one, list...) })
}

func (c *composer) parallel(b *builder, n, one *spec, in value) value {
	branch := make([]func(b *builder) value, len(n.branches))
	for i, q := range n.branches {
		branch[i] = func(b *builder) value { return c.sequence(b, q, in) }
	}
	join := func(list ...val) (val, error) { return c.in.join(one, list...), nil }
	switch len(branch) {
	case 2:
		x, y := workflow.Parallel2(b, branch[0], branch[1])
		return workflow.Transform2(b, x, y, func(x, y val) (val, error) { return join(x, y) })
	case 3:
		x, y, z := workflow.Parallel3(b, branch[0], branch[1], branch[2])
		return workflow.Transform3(b, x, y, z, func(x, y, z val) (val, error) { return join(x, y, z) })
	}
	u, x, y, z := workflow.Parallel4(b, branch[0], branch[1], branch[2], branch[3])
	return workflow.Transform4(b, u, x, y, z, func(u, x, y, z val) (val, error) { return join(u, x, y, z) })
}

func (c *composer) step(n *spec) *steps.Step[val, val] {
	in, st := c.in, n.step
	opts := []steps.Option{
		steps.Retry(steps.RetryPolicy{MaxAttempts: st.tries, Backoff: st.pause, Multiplier: st.factor, MaxElapsed: st.elapsed}),
		steps.RetryCompensation(steps.RetryPolicy{MaxAttempts: st.undoTries, Backoff: st.undoPause}),
	}
	if st.onlyDone {
		opts = append(opts, steps.CompensateOnlyDone())
	}
	if st.timeout > 0 {
		opts = append(opts, steps.Timeout(st.timeout))
	}
	if st.undoWithin > 0 {
		opts = append(opts, steps.CompensationTimeout(st.undoWithin))
	}
	if st.await > 0 {
		opts = append(opts, steps.Await(st.await))
	}
	undoKeep := func(ctx *steps.Context, u keep) error { return in.compensate(n, ctx, u.X, u.U) }
	if st.undo && !st.reversible {
		opts = append(opts, steps.Undo(func(ctx *steps.Context, v val) error { return in.compensate(n, ctx, v.X, v.N) }))
	}
	switch async := n.verb == asyncVerb; {
	case st.reversible && async:
		return steps.NewReversibleAsync[val, val](n.name, func(ctx *steps.Context, v val) (keep, error) {
			_, u, err := in.invoke(n, ctx, v)
			return u, err
		}, undoKeep, opts...)
	case st.reversible:
		return steps.NewReversible(n.name, func(ctx *steps.Context, v val) (val, keep, error) { return in.invoke(n, ctx, v) }, undoKeep, opts...)
	case async:
		return steps.NewAsync[val, val](n.name, func(ctx *steps.Context, v val) error {
			_, _, err := in.invoke(n, ctx, v)
			return err
		}, opts...)
	}
	return steps.New(n.name, func(ctx *steps.Context, v val) (val, error) {
		out, _, err := in.invoke(n, ctx, v)
		return out, err
	}, opts...)
}

var errUndecided = errors.New("no decision")

// decision is made anew each time that it is asked for, as it must not be: it differs
// by when and where it is made.
func (in *instance) decision(n *spec, v val) (fate, error) {
	w := in.w
	f := w.f.of("decision", n.seq.flow.name, n.name, v.X).num(v.N).num(uint64(w.now()))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logf(in.name, "decides %s/%s on %v", n.seq.flow.name, n.name, v)
	if f.is("undecided", w.p.undecided) {
		return f, errUndecided
	}
	if f.is("panics", w.p.undecided/3) {
		panic("no decision for " + n.name)
	}
	return f, nil
}

func (in *instance) decide(n *spec, v val) (val, error) {
	f, err := in.decision(n, v)
	return val{X: v.X, N: f.roll() >> 12}, err
}

// join makes one value of several. It is pure, so that it can be made again by who
// judges.
func (in *instance) join(n *spec, list ...val) val { return joined(n, list) }

func joined(n *spec, list []val) val {
	f := newFate(0).of(n.name)
	out := val{}
	for _, v := range list {
		f = f.num(v.N)
		if v.X != "" {
			out.X = v.X
		}
	}
	out.N = f.roll() >> 12
	return out
}

func itoa(n int) string { return strconv.Itoa(n) }
