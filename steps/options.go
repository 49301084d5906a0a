package steps

import (
	"time"

	"github.com/lockstep-dev/lockstep/internal/plan"
)

// Option changes a step. Options are immutable values and may be used for many
// steps.
type Option interface{ toStep(d *definition) }

type optionFunc func(d *definition)

func (f optionFunc) toStep(d *definition) { f(d) }

// Name gives the step another name; it is for [With], by which a workflow can use
// one step twice.
func Name(name string) Option {
	return optionFunc(func(d *definition) { d.name = name })
}

// RetryPolicy says how often a body is called, and when. The zero value is one
// attempt. Invoke and compensate have policies of their own, [Retry] and
// [RetryCompensation].
type RetryPolicy struct {
	// MaxAttempts counts the first attempt too; zero is one, negative is without a
	// limit.
	MaxAttempts int
	// Backoff precedes the second attempt; zero is at once. Each further pause is
	// Multiplier times the one before (1 when zero), up to MaxBackoff when that is
	// not zero.
	Backoff    time.Duration
	Multiplier float64
	MaxBackoff time.Duration
	// Jitter takes away up to this share of each pause, at random; from 0 to 1.
	Jitter float64
	// MaxElapsed bounds the time from the start of the first attempt to the start
	// of the last; zero is without a bound.
	MaxElapsed time.Duration
	// If says which errors are worth another attempt; nil is all but those marked
	// by [Permanent]. It must be pure.
	If func(error) bool
}

func (p RetryPolicy) into(a *plan.Attempts) {
	a.Most, a.Pause, a.Factor, a.PauseMost = p.MaxAttempts, p.Backoff, p.Multiplier, p.MaxBackoff
	a.Jitter, a.Elapsed, a.RetryIf = p.Jitter, p.MaxElapsed, p.If
}

// fault says what is wrong with a policy, or nothing.
func (p RetryPolicy) fault() string {
	switch {
	case p.Backoff < 0, p.MaxBackoff < 0, p.MaxElapsed < 0:
		return "Backoff, MaxBackoff and MaxElapsed cannot be negative"
	case p.MaxBackoff > 0 && p.Backoff > p.MaxBackoff:
		return "Backoff " + p.Backoff.String() + " is longer than MaxBackoff " + p.MaxBackoff.String()
	case p.Jitter < 0 || p.Jitter > 1:
		return "Jitter is a share from 0 to 1"
	case p.Multiplier != 0 && p.Multiplier < 1:
		return "Multiplier cannot be less than 1"
	}
	return ""
}

// Retry sets the policy for invoke, and for compensate unless
// [RetryCompensation] sets another.
func Retry(p RetryPolicy) Option {
	return optionFunc(func(d *definition) {
		d.fault(p.fault())
		p.into(&d.policy.Invoke)
		if !d.ownCompensation {
			p.into(&d.policy.Compensate)
		}
	})
}

// RetryCompensation sets the policy for compensate.
func RetryCompensation(p RetryPolicy) Option {
	return optionFunc(func(d *definition) {
		d.fault(p.fault())
		d.ownCompensation = true
		p.into(&d.policy.Compensate)
	})
}

// Timeout bounds each attempt of invoke: its context ends after t, with a
// [*TimeoutError] as its cause and as the attempt's error. A body that does not
// heed its context is waited for a while, and then left behind.
func Timeout(t time.Duration) Option {
	return optionFunc(func(d *definition) {
		if t <= 0 {
			d.fault("Timeout " + t.String() + " is not positive")
		}
		d.policy.Invoke.Timeout = t
	})
}

// CompensationTimeout is [Timeout] for compensate.
func CompensationTimeout(t time.Duration) Option {
	return optionFunc(func(d *definition) {
		if t <= 0 {
			d.fault("CompensationTimeout " + t.String() + " is not positive")
		}
		d.policy.Compensate.Timeout = t
	})
}

// CompensateOnlyDone leaves a step uncompensated whose invoke failed. One whose
// outcome is unknown is compensated all the same.
func CompensateOnlyDone() Option {
	return optionFunc(func(d *definition) { d.policy.CompensateOnlyDone = true })
}

// Undo gives a step made by [New] its compensation. The undo data is the step's
// output, so fn takes the output's type; another type is a fault at definition.
func Undo[Out any](fn func(ctx *Context, output Out) error) Option {
	return optionFunc(func(d *definition) {
		if fn == nil {
			d.fault("Undo needs a function")
			return
		}
		d.setCompensate(typeName[Out](), compensateBody(fn))
	})
}

// Await bounds the time that the result of an asynchronous step may take to come,
// from the end of start on: a result that is not there after t is a failure of the
// step, whose outcome is unknown and which is not tried again. Without it the step
// waits until the execution's deadline. On a step that is not asynchronous it is a
// fault.
func Await(t time.Duration) Option {
	return optionFunc(func(d *definition) {
		if t <= 0 {
			d.fault("Await " + t.String() + " is not positive")
		}
		d.await = t
	})
}
