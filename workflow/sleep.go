package workflow

import (
	"time"

	"github.com/lockstep-dev/lockstep/internal/plan"
)

// Sleep lets time pass before what follows it. A sleeping execution costs nothing but
// its record, and wakes up wherever there is an engine.
func Sleep(b *Builder, d time.Duration, opts ...NodeOption) {
	s := collect(opts, NodeOption.toNode)
	if d <= 0 {
		s.fault("the time " + d.String() + " is not positive")
	}
	sleep(b, "Sleep", s, func(plan.Codec, [][]byte) (plan.Decision, error) {
		return plan.Decision{Pause: plan.Pause{For: d}}, nil
	})
}

// SleepFor is [Sleep] for a time that the execution computes; what is not positive is
// over at once.
func SleepFor(b *Builder, d Value[time.Duration], opts ...NodeOption) {
	sleep(b, "SleepFor", collect(opts, NodeOption.toNode), decideOn(func(_ plan.Codec, d time.Duration) (plan.Decision, error) {
		return plan.Decision{Pause: plan.Pause{For: max(0, d)}}, nil
	}), d.edge())
}

// SleepUntil is [Sleep] until a moment; one that has passed is over at once.
func SleepUntil(b *Builder, t Value[time.Time], opts ...NodeOption) {
	sleep(b, "SleepUntil", collect(opts, NodeOption.toNode), decideOn(func(_ plan.Codec, t time.Time) (plan.Decision, error) {
		return plan.Decision{Pause: plan.Pause{Until: t}}, nil
	}), t.edge())
}

func sleep(b *Builder, verb string, s *settings, decide plan.Decide, uses ...edge) {
	d := b.declare(verb, s)
	d.add(plan.Node{Kind: plan.SleepNode, Inputs: d.uses(uses...), Decide: decide})
}
