package faults

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

// job is what an execution is to do, and what is to go wrong in it. It follows from its
// number alone, so that whoever asks again asks for the same.
type job struct {
	Keys      []string // what the guard of an order locks
	Shelf     string   // what the guard of a parcel locks
	Fails     string   // the step that fails for good; empty is none
	Flaky     string   // the step whose first attempt fails
	FlakyUndo string   // the step whose first compensation fails
}

// kind is a workflow, with what is known of its steps.
type kind struct {
	name string
	// chains are its steps, one behind the other, along each way through the graph: of any
	// two steps that are ordered there is a chain that has both.
	chains [][]string
	flow   *workflow.Workflow[pass, pass]
}

var errPlanned = errors.New("as planned")

// shelves are few, so that executions wait for each other.
var shelves = []string{"prod_1", "prod_2", "prod_3", "prod_4"}

// kinds are the workflows; world is where their steps write down what they do.
func kinds(w *world) []kind {
	parcel := workflow.New("parcel", func(b *workflow.Builder, in workflow.Value[pass]) workflow.Value[pass] {
		v := workflow.Do(b, w.step("wrap"), in)
		return workflow.Guard(b, workflow.Map(b, in, func(p pass) string { return p.Job.Shelf }), func(b *workflow.Builder) workflow.Value[pass] {
			return workflow.Do(b, w.step("stamp"), workflow.Do(b, w.step("weigh"), v))
		})
	})
	order := workflow.New("order", func(b *workflow.Builder, in workflow.Value[pass]) workflow.Value[pass] {
		v := workflow.Do(b, w.step("open"), in)
		v = workflow.Guard(b, workflow.Map(b, in, func(p pass) []string { return p.Job.Keys }), func(b *workflow.Builder) workflow.Value[pass] {
			label, charge := workflow.Parallel2(b,
				func(b *workflow.Builder) workflow.Value[pass] {
					return workflow.Do(b, w.step("label"), workflow.Do(b, w.step("reserve"), v))
				},
				func(b *workflow.Builder) workflow.Value[pass] { return workflow.Do(b, w.step("charge"), v) })
			return workflow.Transform2(b, label, charge, func(a, b pass) (pass, error) { return merge(a, b), nil })
		})
		return workflow.Do(b, w.step("close"), v)
	})
	trip := workflow.New("trip", func(b *workflow.Builder, in workflow.Value[pass]) workflow.Value[pass] {
		v := workflow.Do(b, w.step("plan"), in)
		workflow.Sleep(b, 20*time.Millisecond)
		booked := workflow.ForEach(b, workflow.Map(b, v, func(p pass) []pass { return []pass{p, p, p} }),
			func(b *workflow.Builder, item workflow.Value[pass]) workflow.Value[pass] {
				return workflow.Do(b, w.step("book"), item)
			}, workflow.Concurrency(2))
		v = workflow.Call(b, parcel, workflow.Map(b, booked, func(list []pass) pass { return merge(list...) }))
		return workflow.Do(b, w.step("thank"), v)
	})
	return []kind{
		{"order", [][]string{{"open", "reserve", "label", "close"}, {"open", "charge", "close"}}, order},
		{"trip", [][]string{
			{"plan", "book#0", "wrap", "weigh", "stamp", "thank"},
			{"plan", "book#1", "wrap", "weigh", "stamp", "thank"},
			{"plan", "book#2", "wrap", "weigh", "stamp", "thank"},
		}, trip},
		{"parcel", [][]string{{"wrap", "weigh", "stamp"}}, parcel},
	}
}

func (k kind) steps() []string {
	list := slices.Concat(k.chains...)
	slices.Sort(list)
	return slices.Compact(list)
}

// jobOf is what the execution with a number is to do.
func jobOf(seed uint64, k kind, number int) job {
	r := rand.New(rand.NewPCG(seed, uint64(number)))
	one := func() string { return shelves[r.IntN(len(shelves))] }
	j := job{Keys: []string{one(), one()}, Shelf: one()}
	step := func(share float64) string {
		if list := k.steps(); r.Float64() < share {
			return list[r.IntN(len(list))]
		}
		return ""
	}
	j.Fails, j.Flaky, j.FlakyUndo = step(0.4), step(0.3), step(0.3)
	return j
}

// pass is what goes from step to step: for whom, and of which attempt each result is.
type pass struct {
	Root string
	Job  job
	By   map[string]string
}

func merge(list ...pass) pass {
	all := pass{Root: list[0].Root, Job: list[0].Job, By: map[string]string{}}
	for _, p := range list {
		maps.Copy(all.By, p.By)
	}
	return all
}

// world is where bodies write down what they do.
type world struct {
	notes *notes
	seed  uint64
}

// locks are the keys of the guard that a step stands in.
func (j job) locks(step string) []string {
	switch step {
	case "reserve", "label", "charge":
		return j.Keys
	case "weigh", "stamp":
		if j.Shelf != "" { // else nobody knows for whom it is
			return []string{j.Shelf}
		}
	}
	return nil
}

// step is a reversible step that writes down what it does, and takes a moment for it.
func (w *world) step(name string) *steps.Step[pass, pass] {
	return steps.NewReversible(name,
		func(ctx *steps.Context, in pass) (pass, pass, error) {
			place := placeOf(ctx)
			nonce, err := w.act(ctx, in, in.Job.Fails == place, in.Job.Flaky == place)
			out := merge(in)
			out.By[place] = nonce
			return out, out, steps.KeepUndo(err)
		},
		func(ctx *steps.Context, done pass) error {
			_, err := w.act(ctx, done, false, done.Job.FlakyUndo == placeOf(ctx))
			return err
		},
		steps.Retry(steps.RetryPolicy{MaxAttempts: 3, Backoff: 5 * time.Millisecond}),
		steps.RetryCompensation(steps.RetryPolicy{MaxAttempts: -1, Backoff: 5 * time.Millisecond}))
}

// placeOf names a step, and the item of the loop that it stands in.
func placeOf(ctx *steps.Context) string {
	name := ctx.Step()
	for _, i := range ctx.Ref().Items {
		name += fmt.Sprint("#", i)
	}
	return name[strings.LastIndex(name, "/")+1:]
}

// act is what a body does: it says that it begins, takes a moment, and says what it came to.
func (w *world) act(ctx *steps.Context, in pass, fails, flaky bool) (nonce string, err error) {
	n := note{
		What: begins, Root: in.Root, Execution: ctx.ExecutionID(), Step: placeOf(ctx), Key: ctx.IdempotencyKey(),
		Nonce: w.notes.nonce(), Undo: ctx.Outcome() != "", By: in.By, Tokens: map[string]uint64{},
	}
	for _, key := range in.Job.locks(n.Step) {
		lock, err := locking.Held(ctx, key)
		if err != nil {
			n.What, n.Error = refused, err.Error()
			w.notes.add(n)
			return n.Nonce, fmt.Errorf("hold %s: %w", key, err)
		}
		defer lock.Close()
		n.Tokens[key] = uint64(lock.Token(key))
	}
	w.notes.add(n)
	defer func() {
		n.What, n.By, n.Tokens = returns, nil, nil
		if err != nil {
			n.Error = err.Error()
		}
		w.notes.add(n)
	}()
	if err := moment(ctx, w.takes(n.Key)); err != nil {
		return n.Nonce, err
	}
	switch {
	case fails:
		return n.Nonce, steps.Permanent(errPlanned)
	case flaky && ctx.Attempt() == 1:
		return n.Nonce, errors.New("try again")
	}
	return n.Nonce, nil
}

var hashSeed = maphash.MakeSeed()

// takes is how long a body takes.
func (w *world) takes(key string) time.Duration {
	return time.Duration(maphash.String(hashSeed, key) % uint64(4*time.Millisecond))
}

func moment(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
