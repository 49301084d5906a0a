package lockingtest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func deadlockCases() []providerCase {
	return slices.Concat(circleCases(), victimCases(), noDeadlockCases())
}

func circleCases() []providerCase {
	return []providerCase{
		{
			name: "DeadlockIsFound",
			rule: "of two owners that wait for each other one gets a DeadlockError, at once",
			run: func(r *rig) {
				first, second := r.embrace(ask("left", "a"), ask("right", "b"))
				if err := r.firstToEnd(first, second).wantError(driver.ErrDeadlock); !isDeadlock(err) {
					r.Errorf("the error is %T, want a *driver.DeadlockError", err)
				}
			},
		},
		{
			name: "DeadlockNamesTheCircle",
			rule: "a DeadlockError has each owner, the key it waits for and that key's holder, in order, and begins with the one given up",
			run: func(r *rig) {
				_, second := r.embrace(ask("left", "a"), ask("right", "b"))
				r.wantCircle(second.wantError(driver.ErrDeadlock),
					driver.Wait{Owner: "right", Key: "a", Holder: "left"}, driver.Wait{Owner: "left", Key: "b", Holder: "right"})
			},
		},
		{
			name: "DeadlockSparesTheOther",
			rule: "the one that was not given up waits on, and gets its key when the victim has given back",
			run: func(r *rig) {
				first, second := r.embrace(ask("left", "a"), ask("right", "b"))
				second.wantError(driver.ErrDeadlock)
				first.wantBlocked()
				r.wantFreed(true, driver.Hold{Key: "b", Owner: "right"})
				first.wantGrant()
			},
		},
		{
			name: "DeadlockVictimLeavesNothing",
			rule: "a request that was given up stands in no queue, and its owner keeps what it had",
			run: func(r *rig) {
				_, second := r.embrace(ask("left", "a"), ask("right", "b"))
				second.wantError(driver.ErrDeadlock)
				r.wantHeld("right", "b")
				r.wantFreed(true, driver.Hold{Key: "a", Owner: "left"})
				r.wantFree("a")
			},
		},
		{
			name: "DeadlockOfThree",
			rule: "a circle of three owners is found, and named in order",
			run: func(r *rig) {
				r.take(ask("one", "a"))
				r.take(ask("two", "b"))
				r.take(ask("three", "c"))
				r.line(ask("one", "b"))
				r.line(ask("two", "c", "d"))
				c := r.start(waiting(ask("three", "a"), caseBound*r.patience))
				r.wantCircle(c.wantError(driver.ErrDeadlock),
					driver.Wait{Owner: "three", Key: "a", Holder: "one"}, driver.Wait{Owner: "one", Key: "b", Holder: "two"},
					driver.Wait{Owner: "two", Key: "c", Holder: "three"})
			},
		},
		{
			name: "DeadlockThroughEncloser",
			rule: "an owner that waits keeps what its enclosing owners hold, and a circle over them is found",
			run: func(r *rig) {
				r.take(ask("outer", "a"))
				r.take(ask("other", "b"))
				r.line(within(ask("inner", "b"), "outer"))
				c := r.start(waiting(ask("other", "a"), caseBound*r.patience))
				r.wantKeysOfCircle(c.wantError(driver.ErrDeadlock), "a of outer", "b of other")
			},
		},
		{
			name: "DeadlockClosedByEnclosed",
			rule: "a request that closes a circle over its enclosing owner is found",
			run: func(r *rig) {
				r.take(ask("outer", "a"))
				r.take(ask("other", "b"))
				r.line(ask("other", "a"))
				c := r.start(waiting(within(ask("inner", "b"), "outer"), caseBound*r.patience))
				r.wantKeysOfCircle(c.wantError(driver.ErrDeadlock), "b of other", "a of outer")
			},
		},
		{
			name: "DeadlockClosedByAGrant",
			rule: "a circle that closes when a waiter is granted what another one of it waits for is found then",
			run: func(r *rig) {
				h := r.takeOne(ask("another", "k"))
				r.take(ask("left", "a"))
				r.take(ask("right", "b"))
				granted := r.line(ask("right", "k"))
				ones := []*call{r.line(ask("right", "a")), r.line(ask("left", "k"))}
				r.wantFreed(true, h.Hold)
				granted.wantGrant()
				r.firstToEnd(ones...).wantError(driver.ErrDeadlock)
			},
		},
		{
			name: "EveryCircleIsFound",
			rule: "a request that closes two circles at once has one member of each given up",
			run: func(r *rig) {
				r.take(ask("old", "k"))
				r.take(ask("left", "a"))
				r.take(ask("right", "b"))
				left, right := r.line(born(ask("left", "k"), 2000)), r.line(born(ask("right", "k"), 3000))
				c := r.start(waiting(born(ask("old", "a", "b"), 1000), caseBound*r.patience))
				left.wantError(driver.ErrDeadlock)
				right.wantError(driver.ErrDeadlock)
				r.wantFreed(true, driver.Hold{Key: "a", Owner: "left"})
				r.wantFreed(true, driver.Hold{Key: "b", Owner: "right"})
				c.wantGrant()
			},
		},
		{
			name:   "DeadlockOverProviders",
			rule:   "a circle of owners at several providers is found, and its victim told at its own",
			shared: true,
			run: func(r *rig) {
				other := r.another()
				r.take(ask("young", "a"))
				r.takeAt(other, ask("old", "b"))
				young := r.line(born(ask("young", "b"), 2000))
				old := r.startAt(other, waiting(born(ask("old", "a"), 1000), caseBound*r.patience))
				r.wantCircle(young.wantError(driver.ErrDeadlock),
					driver.Wait{Owner: "young", Key: "b", Holder: "old"}, driver.Wait{Owner: "old", Key: "a", Holder: "young"})
				r.wantFreed(true, driver.Hold{Key: "a", Owner: "young"})
				old.wantGrant()
			},
		},
	}
}

// embrace lets two owners each take a key and ask for the other's; the second one
// closes the circle.
func (r *rig) embrace(left, right driver.Request) (first, second *call) {
	r.Helper()
	a, b := left.Keys, right.Keys
	left.TTL, right.TTL = 0, 0
	r.take(left)
	r.take(right)
	left.Keys, right.Keys = b, a
	first = r.line(left)
	return first, r.start(waiting(right, caseBound*r.patience))
}

// firstToEnd expects one of the calls to return within the case's patience.
func (r *rig) firstToEnd(calls ...*call) *call {
	r.Helper()
	var ended *call
	Eventually(r.TB, r.patience, "one of the calls returns", func() (bool, string) {
		for _, c := range calls {
			select {
			case <-c.done:
				ended = c
				return true, ""
			default:
			}
		}
		return false, fmt.Sprintf("all %d wait", len(calls))
	})
	return ended
}

func isDeadlock(err error) bool {
	_, ok := errors.AsType[*driver.DeadlockError](err)
	return ok
}

// wantCircle expects a deadlock's edges.
func (r *rig) wantCircle(err error, want ...driver.Wait) {
	r.Helper()
	d, ok := errors.AsType[*driver.DeadlockError](err)
	if !ok || !slices.Equal(d.Cycle, want) {
		r.Errorf("the circle is %v, want %+v", err, want)
	}
}

// wantKeysOfCircle expects a deadlock's keys and their holders, whoever is said to
// wait for them: an owner, or the one that encloses it.
func (r *rig) wantKeysOfCircle(err error, want ...string) {
	r.Helper()
	var got []string
	if d, ok := errors.AsType[*driver.DeadlockError](err); ok {
		for _, w := range d.Cycle {
			got = append(got, w.Key+" of "+w.Holder)
		}
	}
	if !slices.Equal(got, want) {
		r.Errorf("the circle is %v, want one over %q", err, want)
	}
}

func victimCases() []providerCase {
	return []providerCase{
		{
			name: "WhoClosesIsGivenUp",
			rule: "of owners outside executions the one that closed the circle is given up",
			run: func(r *rig) {
				first, second := r.embrace(ask("left", "a"), ask("right", "b"))
				second.wantError(driver.ErrDeadlock)
				first.wantBlocked()
			},
		},
		{
			name: "TheYoungestIsGivenUp",
			rule: "of executions the youngest is given up, whoever closed the circle",
			run: func(r *rig) {
				first, second := r.embrace(born(ask("young", "a"), 2000), born(ask("old", "b"), 1000))
				r.wantCircle(first.wantError(driver.ErrDeadlock),
					driver.Wait{Owner: "young", Key: "b", Holder: "old"}, driver.Wait{Owner: "old", Key: "a", Holder: "young"})
				r.wantFreed(true, driver.Hold{Key: "a", Owner: "young"})
				second.wantGrant()
			},
		},
		{
			name: "TheYoungestGivesUpItself",
			rule: "an execution that closes a circle of older ones is given up",
			run: func(r *rig) {
				first, second := r.embrace(born(ask("old", "a"), 1000), born(ask("young", "b"), 2000))
				second.wantError(driver.ErrDeadlock)
				first.wantBlocked()
			},
		},
		{
			name: "CompensationIsSpared",
			rule: "one that compensates is not given up as long as another member of the circle does not, however young it is",
			run: func(r *rig) {
				first, second := r.embrace(born(ask("old", "a"), 1000), compensating(born(ask("undo", "b"), 2000)))
				first.wantError(driver.ErrDeadlock)
				r.wantFreed(true, driver.Hold{Key: "a", Owner: "old"})
				second.wantGrant()
			},
		},
		{
			name: "TheYoungestOfThreeIsGivenUp",
			rule: "of three in a circle the youngest is given up that does not compensate, wherever it stands",
			run: func(r *rig) {
				r.take(ask("undo", "a"))
				r.take(ask("young", "b"))
				r.take(ask("old", "c"))
				undo := r.line(compensating(born(ask("undo", "b"), 3000)))
				young := r.line(born(ask("young", "c"), 2000))
				old := r.start(waiting(born(ask("old", "a"), 1000), caseBound*r.patience))
				r.wantCircle(young.wantError(driver.ErrDeadlock),
					driver.Wait{Owner: "young", Key: "c", Holder: "old"}, driver.Wait{Owner: "old", Key: "a", Holder: "undo"},
					driver.Wait{Owner: "undo", Key: "b", Holder: "young"})
				undo.wantBlocked()
				old.wantBlocked()
			},
		},
		{
			name: "OneOfCompensationsIsGivenUp",
			rule: "a circle of which all compensate has the youngest given up all the same",
			run: func(r *rig) {
				first, second := r.embrace(compensating(born(ask("young", "a"), 2000)), compensating(born(ask("old", "b"), 1000)))
				first.wantError(driver.ErrDeadlock)
				second.wantBlocked()
			},
		},
	}
}

func noDeadlockCases() []providerCase {
	return []providerCase{
		{
			name: "AnonymousMakeNoCircle",
			rule: "anonymous owners are not one: two that wait for each other's keys are no deadlock that could be told",
			run: func(r *rig) {
				r.take(ask(driver.Anonymous, "a"))
				r.take(ask(driver.Anonymous, "b"))
				first := r.start(waiting(ask(driver.Anonymous, "b"), 3*blockedFor))
				second := r.start(waiting(ask(driver.Anonymous, "a"), 3*blockedFor))
				first.wantError(driver.ErrTimeout)
				second.wantError(driver.ErrTimeout)
			},
		},
		{
			name: "NobodyWaitsForItself",
			rule: "an owner that asks for its own key beside another's waits for the other only",
			run: func(r *rig) {
				r.take(within(ask("owner", "a"), "outer"))
				h := r.takeOne(ask("other", "b"))
				c := r.line(within(ask("owner", "a", "b"), "outer"))
				again := r.line(within(ask("owner", "b"), "outer"))
				r.wantFreed(true, h.Hold)
				c.wantGrant()
				again.wantGrant()
			},
		},
		{
			name: "ChainIsNoCircle",
			rule: "owners that wait one for the other in a row, of which the last goes on, are no deadlock",
			run: func(r *rig) {
				r.take(ask("one", "a"))
				r.take(ask("two", "b"))
				h := r.takeOne(ask("three", "c"))
				first := r.line(ask("one", "b"))
				second := r.line(ask("two", "c"))
				third := r.line(ask("four", "a", "b", "c"))
				r.take(ask("three", "d"))
				r.wantFreed(true, h.Hold)
				second.giveBack()
				r.wantFreed(true, driver.Hold{Key: "b", Owner: "two"})
				first.giveBack()
				r.wantFreed(true, driver.Hold{Key: "a", Owner: "one"})
				third.wantGrant()
			},
		},
		{
			name: "QueuesMakeNoCircle",
			rule: "requests that wait behind each other in the queues only are no deadlock",
			run: func(r *rig) {
				a, b := r.takeOne(ask("holder", "a")), r.takeOne(ask("holder", "b"))
				first := r.line(ask("left", "a", "b"))
				second := r.line(ask("right", "a", "b"))
				r.wantFreed(true, a.Hold)
				r.wantFreed(true, b.Hold)
				r.wantOrder(r.served(first, second), "left", "right")
			},
		},
	}
}
