// Package locksteps has two ready-made steps, [Acquire] and [Release], for
// workflows that lock what they are about to change. They are the acquireLockStep
// and the releaseLockStep of Medusa's core-flows, under the same names.
//
//	order := workflow.Map(b, in, func(o Order) locksteps.AcquireInput {
//		return locksteps.AcquireInput{Keys: locking.Keys(o.ID), Timeout: 2 * time.Second}
//	})
//	workflow.Do(b, locksteps.Acquire, order)
//	workflow.Do(b, change, in)
//
// The lock belongs to the execution. The steps that follow run under it, it is
// renewed for as long as the execution lives, and it is given back when the
// execution ends, however it ends; Release gives it back sooner. It is never
// anybody else's lock that these steps free.
//
// A step's name is unique in its workflow. To use one of these more than once,
// name each use:
//
//	var acquireStock = steps.With(locksteps.Acquire, steps.Name("acquire-stock"))
//
// The service is the one under [locking.ServiceKey] in the engine's container. Of
// the settings that core-flows' steps have, two are not there. A retry interval
// is not needed: a waiter is woken when the lock is released. And there are no
// sub-workflows yet in which a step would have to be skipped.
package locksteps
