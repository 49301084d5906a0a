package steps

import "github.com/lockstep-dev/lockstep/internal/plan"

// BackgroundQueue is the queue of steps that are made [Background]. An engine serves it
// when nothing else is said.
const BackgroundQueue = "background"

// OnQueue has the step's bodies called by whichever engine serves the queue, which need
// not be the one that drives the execution: where the hardware is, or as many at a time as
// something can bear. The execution waits, and costs nothing but its record.
//
// What calls the body needs the workflow, and resolves services from its own container. A
// lock that the body takes is the attempt's: it is given back when that has ended. A step
// on a queue cannot stand in a guard, whose locks are those of the instance that drives
// the execution. One that is cancelled while it waits, or while it is under way, has an
// unknown outcome.
func OnQueue(name string) Option {
	return optionFunc(func(d *definition) {
		q := plan.Queue{Name: name}
		if d.queue != nil {
			q.Priority = d.queue.Priority
		}
		if name == "" {
			d.fault("OnQueue needs the name of a queue")
		}
		d.queue = &q
	})
}

// Background is [OnQueue] with [BackgroundQueue].
func Background() Option { return OnQueue(BackgroundQueue) }

// Priority says which attempts of a queue go first: those with a higher one, zero being
// that of all others. Within one priority workflows take turns. It is for steps that are
// [OnQueue], and alone it makes a step [Background].
func Priority(p int) Option {
	return optionFunc(func(d *definition) {
		name := BackgroundQueue
		if d.queue != nil {
			name = d.queue.Name
		}
		d.queue = &plan.Queue{Name: name, Priority: p}
	})
}
