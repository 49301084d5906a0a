package storetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

func leaseCases() []storeCase {
	return []storeCase{
		{
			name: "HeartbeatRenews",
			rule: "a lease that is renewed in time lasts on, for the time given counted from then",
			why:  "I8: an owner that lives keeps what it drives",
			run: func(r *rig) {
				i := r.instance("renewing")
				x := r.make("x", ownedBy(i))
				d := r.short()
				until := r.now().Add(d)
				r.beat(i, d)
				for range 6 {
					r.pass(d / 3)
					if r.now().After(until) {
						r.Skip("the machine is too busy for the lease to be renewed in time")
					}
					until = r.now().Add(d)
					r.beat(i, d)
					if got := r.wantClaimedUntil(until, r.asking(r.me)); len(got) > 0 {
						r.Skip("the machine is too busy to look at a lease before it ends")
					}
				}
				r.pass(d)
				r.claimEventually(r.asking(r.me), x)
			},
		},
		{
			name: "RenewalMayBeShorter",
			rule: "a renewal for a shorter time ends the lease sooner",
			why:  "I8: the lease is what was asked for last",
			run: func(r *rig) {
				i := r.instance("shortening")
				x := r.make("x", ownedBy(i))
				r.beat(i, r.lease())
				r.pass(r.lease())
				r.claimEventually(r.asking(r.me), x)
			},
		},
		{
			name: "LapseIsForGood",
			rule: "an instance whose lease has lapsed gets ErrInstance from every heartbeat after it, and has no lease again",
			why:  "I2: what it had may be driven by others, and it must learn that all of it is lost",
			run: func(r *rig) {
				i := r.instance("lost")
				x := r.make("x", ownedBy(i))
				r.lapse(i)
				for range 3 {
					if err := r.s.Heartbeat(r.ctx, i, forLong); !errors.Is(err, store.ErrInstance) {
						r.Errorf("a heartbeat after the lapse: %v, want %v", err, store.ErrInstance)
					}
				}
				r.claimEventually(r.asking(r.me), x)
			},
		},
		{
			name: "EndIsForGood",
			rule: "an instance that was ended gets ErrInstance from every heartbeat after it, also when it had no lease before",
			why:  "I2: a heartbeat that was on its way when the instance stopped brings nothing back",
			run: func(r *rig) {
				for what, i := range map[string]store.Instance{"with a lease": r.instance("a"), "without": r.unleased("a"), "another": r.unleased("b")} {
					r.end(i)
					r.end(i)
					if err := r.s.Heartbeat(r.ctx, i, forLong); !errors.Is(err, store.ErrInstance) {
						r.Errorf("a heartbeat of one that was ended, %s: %v, want %v", what, err, store.ErrInstance)
					}
				}
			},
		},
		{
			name: "NobodyHasNoLease",
			rule: "the instance that is nobody gets ErrInstance from a heartbeat, and its end ends nothing",
			why:  "I2: what nobody owns is not owned by an instance",
			run: func(r *rig) {
				x := r.make("x", ownedByNobody)
				if err := r.s.Heartbeat(r.ctx, store.Instance{}, forLong); !errors.Is(err, store.ErrInstance) {
					r.Errorf("%v, want %v", err, store.ErrInstance)
				}
				r.end(store.Instance{})
				r.wantClaimed("of what nobody owned", r.asking(r.me))
				r.same("what nobody owned", r.load(x.Key), x)
			},
		},
		{
			name: "LeasesAreApart",
			rule: "each instance has a lease of its own: another node's, another start's of the same node, and names that look alike",
			why:  "I2: the end of one takes nothing from others",
			run: func(r *rig) {
				var names []store.Instance
				for _, node := range []string{"a", "a/b", "a:b", "a\x00b", "", "A", "a\xff", "a\ufffd"} {
					for _, start := range []string{"1", "b/1", "b:1", "", "2"} {
						if i := (store.Instance{Node: node, Incarnation: start}); !i.None() {
							names = append(names, i)
						}
					}
				}
				for n, i := range names {
					r.beat(i, forLong)
					r.make(fmt.Sprint(n), ownedBy(i))
				}
				for n, i := range names {
					r.end(i)
					r.wantClaimed(fmt.Sprintf("after the end of %q", i), r.asking(r.me), fmt.Sprint(n))
				}
			},
		},
	}
}

func releaseCases() []storeCase {
	return []storeCase{
		{
			name: "ReleaseTakesTheOwnership",
			rule: "a release leaves the execution to nobody and changes nothing else: epoch and revision stay, and its owner writes no more",
			why:  "I2: what others may claim is not driven any more",
			run: func(r *rig) {
				x := r.make("x", dueAt(r.now().Add(time.Hour)))
				y := r.make("y")
				r.deliver(x.Key, "m")
				want := r.load(x.Key)
				r.release(r.me, x)
				want.Owner = store.Instance{}
				r.same("what was released", r.load(x.Key), want)
				r.wantFenced("by the owner that released", r.write(x))
				r.put(r.write(y))
			},
		},
		{
			name: "ReleaseLeavesAloneWhatIsNotOwned",
			rule: "a release of what another owns, nobody owns, or is not there, changes nothing, and is no error",
			why:  "I2: a stale owner changes nothing",
			run: func(r *rig) {
				other := r.instance("other")
				owned, nobodys := r.make("owned"), r.make("nobody's", ownedByNobody)
				r.release(other, owned, nobodys, r.fresh("missing"))
				r.release(store.Instance{}, owned, nobodys)
				r.release(store.Instance{Node: r.me.Node, Incarnation: "another"}, owned)
				r.release(r.me)
				r.same("what another owns", r.load(owned.Key), owned)
				r.same("what nobody owns", r.load(nobodys.Key), nobodys)
				r.wantClaimed("after it", r.asking(other))
				r.put(r.write(owned))
			},
		},
		{
			name: "LateReleaseChangesNothing",
			rule: "a release under another epoch than the execution's changes nothing",
			why:  "I2: one that was on its way for long must not take from its owner what he has claimed since",
			run: func(r *rig) {
				x := r.make("x")
				r.release(r.me, x)
				now := r.claimOne(r.asking(r.me), x.Key).Snapshot
				r.release(r.me, x)
				r.same("after the late release", r.load(x.Key), now)
				newer := *x
				newer.Epoch = 3
				r.release(r.me, &newer)
				r.same("after one of a later epoch", r.load(x.Key), now)
				r.wantClaimed("after both", r.asking(r.instance("other")))
				r.put(r.write(now))
			},
		},
		{
			name: "ManyAreReleasedTogether",
			rule: "a release may name hundreds of executions, each of which is released by itself",
			why:  "I8: an instance that loses a plan gives all of it up",
			run: func(r *rig) {
				var list []*store.Snapshot
				for i := range 250 {
					x := r.fresh(fmt.Sprint(i))
					x.Epoch = 1
					if i%50 == 7 {
						x.Epoch = 2 // it does not own it under this one
					}
					r.create(x)
					list = append(list, x)
				}
				r.release(r.me, list...)
				got := 0
				other := r.instance("other")
				r.eventually("245 are claimed", func() (bool, string) {
					got += len(r.claim(r.asking(other)))
					return got >= 245, fmt.Sprint(got)
				})
				if got += len(r.claim(r.asking(other))); got != 245 {
					r.Errorf("%d were claimed, want 245", got)
				}
			},
		},
	}
}
