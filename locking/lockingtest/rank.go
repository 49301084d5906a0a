package lockingtest

import (
	"github.com/lockstep-dev/lockstep/locking/driver"
)

func rankCases() []providerCase {
	return []providerCase{
		{
			name: "CompensationGoesFirst",
			rule: "a compensating request goes before forward ones that came earlier",
			run: func(r *rig) {
				h := r.takeOne(ask("holder", "a"))
				first := r.line(ask("first", "a"))
				second := r.line(ask("second", "a"))
				undo := r.line(compensating(ask("undo", "a")))
				r.wantFreed(true, h.Hold)
				r.wantOrder(r.served(first, second, undo), "undo", "first", "second")
			},
		},
		{
			name: "HoldersGoFirst",
			rule: "an owner that holds something goes before those that hold nothing and came earlier",
			run: func(r *rig) {
				r.take(ask("rich", "x"))
				h := r.takeOne(ask("holder", "a"))
				poor := r.line(ask("poor", "a"))
				rich := r.line(ask("rich", "a"))
				r.wantFreed(true, h.Hold)
				r.wantOrder(r.served(poor, rich), "rich", "poor")
			},
		},
		{
			name: "EnclosingHoldersGoFirst",
			rule: "an owner with an enclosing owner that holds something goes before those that hold nothing",
			run: func(r *rig) {
				r.take(ask("outer", "x"))
				h := r.takeOne(ask("holder", "a"))
				poor := r.line(ask("poor", "a"))
				inner := r.line(within(ask("inner", "a"), "outer"))
				r.wantFreed(true, h.Hold)
				r.wantOrder(r.served(poor, inner), "inner", "poor")
			},
		},
		{
			name: "CompensationGoesBeforeHolders",
			rule: "a compensating request goes before owners that hold something, whatever it holds itself",
			run: func(r *rig) {
				r.take(ask("rich", "x"))
				h := r.takeOne(ask("holder", "a"))
				rich := r.line(ask("rich", "a"))
				undo := r.line(compensating(ask("undo", "a")))
				r.wantFreed(true, h.Hold)
				r.wantOrder(r.served(rich, undo), "undo", "rich")
			},
		},
		{
			name: "FIFOWithinARank",
			rule: "requests of one rank are served in the order in which they came",
			run: func(r *rig) {
				r.take(ask("rich-1", "x"))
				r.take(ask("rich-2", "y"))
				h := r.takeOne(ask("holder", "a"))
				calls := []*call{
					r.line(ask("poor-1", "a")), r.line(compensating(ask("undo-1", "a"))), r.line(ask("rich-1", "a")),
					r.line(ask("poor-2", "a")), r.line(compensating(ask("undo-2", "a"))), r.line(ask("rich-2", "a")),
				}
				r.wantFreed(true, h.Hold)
				r.wantOrder(r.served(calls...), "undo-1", "undo-2", "rich-1", "rich-2", "poor-1", "poor-2")
			},
		},
		{
			name: "RankPassesAtAFreeKey",
			rule: "a free key that a forward request waits for is there for a compensating one",
			run: func(r *rig) {
				r.take(ask("holder", "b"))
				r.line(ask("waiter", "a", "b"))
				r.take(compensating(ask("undo", "a")))
			},
		},
		{
			name: "HoldersPassAtAFreeKey",
			rule: "a free key that an owner waits for which holds nothing is there for one that does",
			run: func(r *rig) {
				r.take(ask("rich", "x"))
				r.take(ask("holder", "b"))
				r.line(ask("poor", "a", "b"))
				r.take(ask("rich", "a"))
			},
		},
		{
			name: "WhoHeldGoesLast",
			rule: "an owner whose locks have lapsed, or were released, goes before nobody",
			run: func(r *rig) {
				r.take(lasting(ask("once", "x"), instant))
				y := r.takeOne(ask("once", "y"))
				r.wantLapse("x")
				r.wantFreed(true, y.Hold)
				h := r.takeOne(ask("holder", "a"))
				poor, once := r.line(ask("poor", "a")), r.line(ask("once", "a"))
				r.wantFreed(true, h.Hold)
				r.wantOrder(r.served(poor, once), "poor", "once")
			},
		},
		{
			name: "RankTakesNothingAway",
			rule: "a compensating request waits for what a forward one holds",
			run: func(r *rig) {
				r.take(ask("holder", "a"))
				r.refuse(compensating(ask("undo", "a")), driver.ErrBusy)
				r.wantHeld("holder", "a")
			},
		},
	}
}

func compensating(req driver.Request) driver.Request {
	req.Rank = driver.Compensation
	return req
}

// within is a request of an owner that others enclose.
func within(req driver.Request, enclosing ...string) driver.Request {
	req.Enclosing = enclosing
	return req
}

// born is a request of an execution that began then.
func born(req driver.Request, micros uint64) driver.Request {
	req.Born = micros
	return req
}

// passingCases are about requests that go before one which waits for them. That
// one compensates, so that it is not its rank that lets them.
func passingCases() []providerCase {
	return []providerCase{
		{
			name: "HolderPassesWhoWaitsForIt",
			rule: "a request passes one ahead that waits for what the request's owner holds",
			run: func(r *rig) {
				r.take(ask("holder", "k1"))
				r.line(compensating(ask("waiter", "k1", "k2")))
				r.take(ask("holder", "k2"))
			},
		},
		{
			name: "EnclosedPassesWhoWaitsForEncloser",
			rule: "a request passes one ahead that waits for what an enclosing owner holds",
			run: func(r *rig) {
				r.take(ask("outer", "k1"))
				r.line(compensating(ask("waiter", "k1", "k2")))
				r.take(within(ask("inner", "k2"), "outer"))
			},
		},
		{
			name: "HolderPassesOverHolders",
			rule: "a request passes one ahead that waits for another holder, who waits for what the request's owner holds",
			run: func(r *rig) {
				r.take(ask("holder", "k1"))
				r.take(ask("between", "k3"))
				r.line(ask("between", "k1"))
				r.line(compensating(ask("waiter", "k2", "k3")))
				r.take(ask("holder", "k2"))
			},
		},
		{
			name: "HolderPassesOverQueues",
			rule: "a request passes one ahead that waits behind another, who waits for what the request's owner holds",
			run: func(r *rig) {
				r.take(ask("holder", "k1"))
				r.line(compensating(ask("between", "k1", "k3")))
				r.line(compensating(ask("waiter", "k2", "k3")))
				r.take(ask("holder", "k2"))
			},
		},
		{
			name: "WaiterPassesWhoWaitsForIt",
			rule: "a key that is released goes past one ahead to a waiter whose owner holds what the one ahead lacks",
			run: func(r *rig) {
				r.take(ask("holder", "k1"))
				h := r.takeOne(ask("another", "k2"))
				r.line(compensating(ask("ahead", "k1", "k2")))
				c := r.line(ask("holder", "k2"))
				r.wantFreed(true, h.Hold)
				c.wantGrant()
			},
		},
		{
			name: "NobodyPassesWithoutNeed",
			rule: "a request does not pass one ahead that waits for somebody else, though both hold something",
			run: func(r *rig) {
				r.take(ask("another", "k1"))
				r.take(ask("waiter", "x"))
				r.take(ask("holder", "y"))
				r.line(ask("waiter", "k1", "k2"))
				r.wantWaiterFirst("k2", ask("holder", "k2"))
			},
		},
	}
}
