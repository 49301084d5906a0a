package locksteps

import (
	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
)

// ReleaseInput says what [Release] gives back.
type ReleaseInput struct {
	// Keys are the keys to give back. Without keys the step does nothing, and its
	// output is true.
	Keys Keys
	// Owner is the owner that [AcquireInput] named; empty is the execution.
	Owner string
	// Provider is the provider that [AcquireInput] named; empty is the default one.
	Provider string
}

// Release gives back, before the execution ends, what earlier steps of the same
// sequence took. Its output says whether all the keys were held, and are free now:
// what somebody else has, what the execution does not have, and what an outer
// sequence of it holds stays as it is, and makes the output false. An attempt that
// follows one whose call got no answer may find the keys free, and say false too.
//
// It has no compensation, as in core-flows: when a later step fails, all that was
// done before is undone without the lock. It is not taken again, since somebody
// else may have changed by then what it protected. What must be undone under the
// lock leaves Release out, or last; the end of the execution gives the lock back.
//
// Input that cannot be fails with [*locking.InvalidError] or
// [*locking.UnknownProviderError], and is not tried again.
var Release = steps.New("release-lock-step", release)

func release(ctx *steps.Context, in ReleaseInput) (bool, error) {
	if len(in.Keys) == 0 {
		return true, nil
	}
	locks, err := container.Resolve(ctx, locking.ServiceKey)
	if err != nil {
		return false, err
	}
	opts := []locking.ReleaseOption{locking.WithProvider(in.Provider)}
	if in.Owner != "" {
		opts = append(opts, locking.WithOwner(in.Owner))
	}
	freed, err := locks.Release(ctx, in.Keys, opts...)
	return freed, judged(err)
}
