package workflow

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/lockstep-dev/lockstep/internal/engine"
	"github.com/lockstep-dev/lockstep/internal/plan"
)

var (
	// ErrNoKeys is the error of a [Guard] whose keys come to none, or to an empty one.
	ErrNoKeys = errors.New("workflow: a guard needs a key, and none that is empty")
	// ErrGuardLost is the error of a [Guard] that has lost a lock: somebody else may
	// have had it since. It is the cause that ends the contexts of the steps inside.
	ErrGuardLost = engine.ErrGuardLost
)

// GuardOption is an option of [Guard]. Options are immutable values.
type GuardOption interface{ toGuard(s *settings) }

type guardOption func(s *settings)

func (g guardOption) toGuard(s *settings) { g(s) }

// MaxWait bounds how long a [Guard] waits for its locks; the execution fails with
// locking.ErrTimeout when it is over. Without it the guard waits until the execution's
// deadline.
func MaxWait(d time.Duration) GuardOption {
	return guardOption(func(s *settings) {
		if s.guard.MaxWait = d; d <= 0 {
			s.fault("MaxWait " + d.String() + " is not positive")
		}
	})
}

// MaxHold bounds how long a [Guard] holds its locks. It has to be named for a guard
// around something whose length nobody knows.
func MaxHold(d time.Duration) GuardOption {
	return guardOption(func(s *settings) {
		if s.guard.MaxHold = d; d <= 0 {
			s.fault("MaxHold " + d.String() + " is not positive")
		}
	})
}

// LockProvider has a [Guard] take its locks from the provider with the id, such as
// "lp_locking-redis", in place of the default one.
func LockProvider(id string) GuardOption {
	return guardOption(func(s *settings) {
		if s.guard.Provider = id; id == "" {
			s.fault("the id of its lock provider is empty")
		}
	})
}

// Loss is what a [Guard] does that has lost a lock: one that lapsed, or that its server
// has forgotten, so that somebody else may have had it since.
type Loss int

const (
	// Revert fails the execution with [ErrGuardLost], which undoes what was done. It is
	// what a guard does that does not say otherwise.
	Revert Loss = iota
	// Reacquire takes all locks of the guard again, and goes on: the attempts in flight
	// are ended and awaited, what the guard has left is given back, and it waits in the
	// queues of its keys as at its beginning, with [MaxWait] counted anew. What came to
	// nothing is then done again under the new locks, which have new tokens; a step's
	// retry policy does not count that. An attempt that succeeds in spite of the end of
	// its context counts.
	//
	// So each attempt begins with the locks held, but others may have had them between two
	// steps. What waits for the time, for a child or for a result from outside goes on
	// waiting meanwhile. A lock that was taken by force, or that was held as long as
	// [MaxHold] allows, is not taken again: then the execution fails as with [Revert].
	Reacquire
)

// OnLost says what a [Guard] does when it has lost a lock.
func OnLost(what Loss) GuardOption {
	return guardOption(func(s *settings) {
		if s.guard.Reacquire = what == Reacquire; what != Revert && what != Reacquire {
			s.fault("OnLost(" + strconv.Itoa(int(what)) + ") is neither Revert nor Reacquire")
		}
	})
}

// Guard runs its body while the execution holds the locks on all the keys: it takes
// all or none, waits in their queues without costing more than its record, and
// outlives a crash of the instance. A step inside has its lock by locking.Held. What
// fails inside is compensated before the locks are handed on; what is compensated
// later is so under the same locks.
//
// The keys are one, or a list, which is sorted and rid of what is twice in it. A list
// without keys, or an empty key, is [ErrNoKeys], and fails the execution.
//
// A guard around an asynchronous step, [Sleep], [Call] or another guard needs a
// [MaxHold].
func Guard[K string | []string, T any](b *Builder, keys Value[K], body func(b *Builder) Value[T], opts ...GuardOption) Value[T] {
	s := collect(opts, GuardOption.toGuard)
	d := b.declare("Guard", s)
	path := d.path
	i := d.add(plan.Node{
		Kind: plan.GuardNode, Inputs: d.uses(keys.edge()), OutType: typeName[T](), Guard: &s.guard,
		Decide: decideOn(func(_ plan.Codec, keys K) (plan.Decision, error) {
			var list []string
			switch k := any(keys).(type) {
			case string:
				list = []string{k}
			case []string:
				list = slices.Compact(slices.Sorted(slices.Values(k)))
			}
			if len(list) == 0 || list[0] == "" {
				return plan.Decision{}, fmt.Errorf("%w: %s", ErrNoKeys, path)
			}
			return plan.Decision{Keys: list}, nil
		}),
	})
	compose(&d, i, "the body", body)
	if s.guard.MaxHold == 0 {
		d.bounded(i)
	}
	return Value[T]{d.b, plan.Ref{Node: i}}
}

// bounded reports a guard without a MaxHold around something of unknown length.
func (d *declaration) bounded(guard int) {
	for i := range d.b.root.nodes[guard+1:] {
		n := &d.b.root.nodes[guard+1+i]
		switch {
		case n.Kind == plan.SleepNode, n.Kind == plan.CallNode, n.Kind == plan.GuardNode, n.Asynchronous():
			d.b.faultf("%s holds its locks over %s, which nobody knows the length of: name a MaxHold", d.path, strconv.Quote(n.Path))
			return
		}
	}
}
