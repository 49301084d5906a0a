package storetest

import (
	"errors"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// ownerCases say what becomes of the executions of an instance that has gone.
func ownerCases() []storeCase {
	return []storeCase{
		{
			name: "LapsedIsClaimed",
			rule: "an execution whose owner's lease has lapsed is claimed, and not before, and is told to be of an unclean owner",
			why:  "I8: an instance that has died drives nothing; I11: its executions may have killed it",
			run: func(r *rig) {
				lost := r.instance("lost")
				x := r.make("x", ownedBy(lost))
				until := r.shorten(lost)
				claimed := r.wantClaimedUntil(until, r.asking(r.me))
				r.claimTheRest(claimed, x)
				got := claimed["x"]
				if early := until.Sub(r.now()); early > 0 {
					r.Errorf("it was claimed %s before its owner's lease had ended", early)
				}
				if !got.Unclean || got.Owner != r.me || got.Epoch != 2 {
					r.Errorf("claimed under %s, unclean: %t; want epoch 2, unclean", fenceText(got.Fence), got.Unclean)
				}
			},
		},
		{
			name: "EndReleasesAtOnce",
			rule: "when an instance is ended all that it owns is claimed at once, of a clean owner",
			why:  "I8: a clean stop costs no lease; I11: it is no death",
			run: func(r *rig) {
				old := r.instance("old")
				r.make("a", ownedBy(old))
				r.make("b", ownedBy(old), dueAt(r.now().Add(time.Hour)))
				x := r.make("c", ownedBy(old))
				r.deliver(x.Key, "m")
				r.finish(r.make("let go", ownedBy(old)))
				r.make("mine")
				r.end(old)
				for _, x := range r.wantClaimed("after the end", r.asking(r.me), "a", "b", "c") {
					if x.Unclean || x.Epoch != 2 {
						r.Errorf("%s has epoch %d, unclean: %t; want 2, clean", x.ID, x.Epoch, x.Unclean)
					}
				}
			},
		},
		{
			name: "EndedOwnsNothing",
			rule: "an instance that was ended owns nothing any more: its writes are refused, before a claim too",
			why:  "I2: what is released is not driven",
			run: func(r *rig) {
				old := r.instance("old")
				x := r.make("x", ownedBy(old))
				r.end(old)
				r.wantFenced("after the end", r.write(x))
				if got := r.load(x.Key); !got.Owner.None() || got.Epoch != 1 || got.Revision != 1 {
					r.Errorf("the fence is %s, want nobody's, epoch and revision 1", fenceText(got.Fence))
				}
			},
		},
		{
			name: "PredecessorsAreClaimedAtOnce",
			rule: "a claim with Predecessors returns what other starts of its node own, although their leases last, of an unclean owner; one without does not",
			why:  "I8: after a restart nothing waits for a lease",
			run:  predecessorsAreClaimed,
		},
		{
			name: "OtherNodesAreNoPredecessors",
			rule: "a claim with Predecessors returns nothing of other nodes with a lease, and a node without a name has no predecessors",
			why:  "I2: they live",
			run: func(r *rig) {
				for _, node := range []string{"a", "ab", "A", "a\x00", "b", ""} {
					x := r.make("of "+node, ownedBy(r.instance(node)))
					r.deliver(x.Key, "m")
				}
				for _, node := range []string{"a ", "", "abc"} {
					c := r.asking(r.instance(node))
					c.Predecessors = true
					r.wantClaimed("by node "+node, c)
				}
			},
		},
		{
			name: "UncleanIsWhoDidNotLetGo",
			rule: "an owner that has released an execution, let it go with a write, or claims it itself, is a clean one",
			why:  "I11: an attempt is a suspect only after a death",
			run: func(r *rig) {
				past := r.now().Add(-time.Hour)
				r.release(r.me, r.make("released"))
				r.letGo(r.make("let go"), past)
				r.make("nobody's", ownedByNobody, dueAt(past))
				r.deliver(r.letGo(r.make("woken"), time.Time{}).Key, "m")
				r.finish(r.make("unsettled"), func(h *store.Head) { h.Unsettled = true })
				for _, x := range r.wantClaimed("of all", r.asking(r.instance("other")), "released", "let go", "nobody's", "woken", "unsettled") {
					if x.Unclean {
						r.Errorf("%q is told to be of an unclean owner", x.ID)
					}
				}
				mine := r.make("mine")
				c := r.asking(r.me)
				c.Keys = []store.Key{mine.Key}
				if r.claimOne(c, mine.Key).Unclean {
					r.Error("what the instance itself had is told to be of an unclean owner")
				}
			},
		},
		{
			name: "ClaimWithoutALease",
			rule: "a claim of an instance without a lease, or whose lease has lapsed, or which was ended, is answered by ErrInstance, and claims nothing",
			why:  "I8: what it would own nobody would drive",
			run:  claimWithoutALease,
		},
	}
}

func predecessorsAreClaimed(r *rig) {
	first, second := r.instance("node"), r.instance("node")
	x := r.make("x", ownedBy(first))
	y := r.make("y", ownedBy(second))
	r.deliver(y.Key, "m")
	r.make("other", ownedBy(r.instance("other")))
	third := r.instance("node")
	mine := r.make("mine", ownedBy(third))
	r.wantClaimed("without Predecessors", r.asking(third))
	c := r.asking(third)
	c.Predecessors, c.Keys = true, []store.Key{x.Key}
	got := []store.Claimed{r.claimOne(c, x.Key)}
	c = r.asking(third)
	c.Predecessors = true
	got = append(got, r.claimOne(c, y.Key))
	for _, x := range got {
		if !x.Unclean || x.Owner != third || x.Epoch != 2 {
			r.Errorf("%s was claimed under %s, unclean: %t; want epoch 2, unclean", x.ID, fenceText(x.Fence), x.Unclean)
		}
	}
	r.put(r.write(mine))
	r.wantFenced("by a predecessor", r.write(x))
}

func claimWithoutALease(r *rig) {
	r.letGo(r.make("x"), r.now().Add(-time.Hour))
	want := func(what string, i store.Instance) {
		r.Helper()
		list, err := r.s.Claim(r.ctx, r.asking(i))
		if !errors.Is(err, store.ErrInstance) || len(list) != 0 {
			r.Errorf("%s: a claim returned %q, %v; want %v", what, ids(list), err, store.ErrInstance)
		}
	}
	want("nobody", store.Instance{})
	want("without a lease", r.unleased("new"))
	ended := r.instance("ended")
	r.end(ended)
	want("ended", ended)
	lost := r.instance("lost")
	r.pass(r.shorten(lost).Sub(r.now()))
	r.eventually("the lease lapses", func() (bool, string) {
		c := r.asking(lost)
		c.Plans = nil // what it may claim, as long as it has its lease
		_, err := r.s.Claim(r.ctx, c)
		return errors.Is(err, store.ErrInstance), "no error"
	})
	want("lapsed", lost)
	r.wantClaimed("of one with a lease", r.asking(r.me), "x")
}

// claimAgainCases say how an instance has again what it owns.
func claimAgainCases() []storeCase {
	return []storeCase{
		{
			name: "OwnIsClaimedByItsKey",
			rule: "an instance claims what it owns itself, when it asks for it by its key, with the next epoch",
			why:  "I8: it does not know what became of a call, such as the one that created it, and drives it again",
			run: func(r *rig) {
				x := r.make("x")
				dormant := r.make("y", inState(store.NotStarted))
				c := r.asking(r.me)
				c.Keys = []store.Key{dormant.Key, x.Key}
				for _, got := range r.wantClaimed("by its owner", c, "x", "y") {
					if want := (store.Fence{Owner: r.me, Epoch: 2, Revision: 2}); got.Fence != want {
						r.Errorf("the fence of %s is %s, want %s", got.ID, fenceText(got.Fence), fenceText(want))
					}
				}
				r.wantFenced("under the epoch before", r.write(x))
			},
		},
		{
			name: "OwnOfAnotherPlanIsLeftAlone",
			rule: "an instance claims what it owns itself by its key only for a plan that it names",
			why:  "I10: it cannot drive it",
			run: func(r *rig) {
				x := r.make("x", ofPlan(store.PlanID{Workflow: thePlan.Workflow, Fingerprint: "old"}))
				c := r.asking(r.me)
				c.Keys = []store.Key{x.Key}
				r.wantClaimed("by its owner", c)
			},
		},
	}
}
