package lockingtest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func waitingMutants() []mutant {
	return []mutant{
		{
			name:  "busy with the last key",
			cases: []string{"NoWaitNamesTheHolder", "BusyIsTheFirstKey"},
			wrap: errorAs(func(req driver.Request, err error) error {
				if busy, ok := errors.AsType[*driver.BusyError](err); ok {
					busy.Key = req.Keys[len(req.Keys)-1]
				}
				return err
			}),
		},
		{
			name:  "busy without details",
			cases: []string{"NoWaitNamesTheHolder"},
			wrap: errorAs(func(_ driver.Request, err error) error {
				if errors.Is(err, driver.ErrBusy) {
					return driver.ErrBusy
				}
				return err
			}),
		},
		{
			name:  "NoWait waits",
			cases: []string{"NoWaitDoesNotWait"},
			wrap: requests(func(r *driver.Request) {
				if r.Wait == driver.NoWait && r.Owner != stranger {
					r.Wait = forever
				}
			}),
		},
		{
			name:  "a wait is twice as long",
			cases: []string{"WaitIsUsedUp"},
			wrap:  waits(func(d time.Duration) time.Duration { return d + mutantPatience }),
		},
		{
			name:  "a wait is half as long",
			cases: []string{"WaitIsUsedUp"},
			wrap:  waits(func(d time.Duration) time.Duration { return d / 2 }),
		},
		{
			name:  "a wait that is used up is busy",
			cases: []string{"WaitIsUsedUp", "NoTimeToWait"},
			wrap: errorAs(func(req driver.Request, err error) error {
				if errors.Is(err, driver.ErrTimeout) {
					return &driver.BusyError{Key: req.Keys[0]}
				}
				return err
			}),
		},
		{
			name:  "no time is the default time",
			cases: []string{"NoTimeToWait"},
			wrap: requests(func(r *driver.Request) {
				if r.Wait == 0 {
					r.Wait = forever
				}
			}),
		},
		{
			name:  "contexts are ignored",
			cases: []string{"CancelEndsWait", "DeadlineEndsWait", "EndedContextTakesNothing"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
					return p.Acquire(context.WithoutCancel(ctx), req)
				}}
			},
		},
		{
			name:  "an ended context is a timeout",
			cases: []string{"CancelEndsWait", "DeadlineEndsWait"},
			wrap: errorAs(func(_ driver.Request, err error) error {
				if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
					return driver.ErrTimeout
				}
				return err
			}),
		},
		{
			name:  "every third waiter is forgotten",
			cases: []string{"EveryWaiterIsServed"},
			wrap: func(p driver.Provider) driver.Provider {
				var n atomic.Int64
				forgets := deaf(p)
				return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
					if req.Wait > 0 && n.Add(1)%3 == 0 {
						return forgets.Acquire(ctx, req)
					}
					return p.Acquire(ctx, req)
				}}
			},
		},
	}
}

// waits changes how long the requests wait that do.
func waits(f func(time.Duration) time.Duration) func(driver.Provider) driver.Provider {
	return requests(func(r *driver.Request) {
		if r.Wait > 0 {
			r.Wait = f(r.Wait)
		}
	})
}

func errorAs(f func(driver.Request, error) error) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
			grant, err := p.Acquire(ctx, req)
			if err != nil {
				err = f(req, err)
			}
			return grant, err
		}}
	}
}

func leavingMutants() []mutant {
	return []mutant{
		{
			name:  "who is cancelled stays in the queue",
			cases: []string{"CancelledWaiterLeavesNothing", "CancelRacesRelease", "CancelRacesTaking"},
			wrap:  goOn(context.Canceled),
		},
		{
			name:  "who times out stays in the queue",
			cases: []string{"TimedOutWaiterLeavesNothing", "TimeoutRacesRelease"},
			wrap:  goOn(driver.ErrTimeout),
		},
		{
			name:  "a grant to who is cancelled is lost",
			cases: []string{"CancelRacesRelease", "CancelRacesTaking"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
					grant, err := p.Acquire(ctx, req)
					for range 20 {
						runtime.Gosched()
					}
					if ctx.Err() != nil {
						return driver.Grant{}, ctx.Err()
					}
					return grant, err
				}}
			},
		},
	}
}

// goOn leaves a waiter behind for a request that has failed.
func goOn(reason error) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
			grant, err := p.Acquire(ctx, req)
			if errors.Is(err, reason) {
				req.Wait = 2 * mutantPatience
				granted := make(chan struct{})
				go func() {
					defer close(granted)
					_, _ = p.Acquire(context.WithoutCancel(ctx), req)
				}()
				untilItWaits(p, req, granted)
			}
			return grant, err
		}}
	}
}

// untilItWaits returns when a request stands in its queues, or has been answered.
func untilItWaits(p driver.Provider, req driver.Request, answered <-chan struct{}) {
	for {
		s, err := whole(p).Inspect(context.Background(), req.Keys[0], 100)
		if err != nil || slices.ContainsFunc(s.Waiters, func(w driver.Waiter) bool { return w.Owner == req.Owner }) {
			return
		}
		select {
		case <-answered:
			return
		case <-time.After(pollInterval):
		}
	}
}
