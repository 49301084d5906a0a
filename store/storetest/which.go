package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// whichCases say which of the executions that may be claimed a claim returns.
func whichCases() []storeCase {
	return []storeCase{
		{
			name: "OtherPlansAreLeftAlone",
			rule: "a claim returns executions of its plans alone: the workflow and the fingerprint must be those of one",
			why:  "I10: an instance drives no plan that it does not have",
			run:  otherPlansAreLeftAlone,
		},
		{
			name: "UnknownPlansAreInNobodysWay",
			rule: "executions that the instance cannot drive do not keep it from those that it can, however many there are",
			why:  "I8: an old version's executions would stop those of the new one",
			run: func(r *rig) {
				old := store.PlanID{Workflow: thePlan.Workflow, Fingerprint: "old"}
				for i := range 150 {
					r.make(fmt.Sprintf("old-%d", i), ofPlan(old), ownedByNobody, dueAt(r.now().Add(-time.Hour)))
				}
				r.make("new", ownedByNobody, dueAt(r.now().Add(-time.Minute)))
				c := r.asking(r.me)
				c.Limit = 10
				r.wantClaimed("with 150 of another plan before", c, "new")
			},
		},
		{
			name: "KeysAreAskedForAlone",
			rule: "a claim with keys returns executions with these keys and no others, of those that may be claimed",
			why:  "I2: it is made to have one execution, not to take on work",
			run: func(r *rig) {
				past := r.now().Add(-time.Hour)
				a, b := r.letGo(r.make("a"), past), r.letGo(r.make("b"), past)
				r.letGo(r.make("c"), past)
				dormant, owned := r.letGo(r.make("dormant"), time.Time{}), r.make("owned")
				other := r.make("other plan", ofPlan(store.PlanID{Workflow: "another", Fingerprint: "f"}), ownedByNobody, dueAt(past))
				c := r.asking(r.instance("other"))
				c.Keys = []store.Key{b.Key, dormant.Key, {Workflow: thePlan.Workflow, ID: "missing"}, a.Key, owned.Key, other.Key, b.Key}
				r.wantClaimed("of seven keys, two of which may be claimed", c, "a", "b")
				if got := r.load(b.Key); got.Epoch != 2 {
					r.Errorf("what was named two times has the epoch %d, want 2", got.Epoch)
				}
				r.wantClaimed("of all", r.asking(c.Instance), "c")
			},
		},
		{
			name: "LimitBoundsAClaim",
			rule: "a claim returns no more executions than its limit, and 100 where that is zero, with keys too",
			why:  "I8: an instance takes what it can drive, and others the rest",
			run: func(r *rig) {
				past := r.now().Add(-time.Hour)
				var keys []store.Key
				for i := range 130 {
					x := r.fresh(fmt.Sprintf("x-%d", i))
					x.Owner, x.DueAt = store.Instance{}, past
					r.create(x)
					keys = append(keys, x.Key)
				}
				want := func(limit, want int, keys []store.Key) {
					r.Helper()
					c := r.asking(r.me)
					c.Limit, c.Keys = limit, keys
					if got := r.claim(c); len(got) != want {
						r.Errorf("a claim with the limit %d returned %d executions, want %d", limit, len(got), want)
					}
				}
				want(3, 3, keys[:10])
				want(7, 7, nil)
				want(0, 100, nil)
				want(50, 20, nil)
				want(50, 0, nil)
			},
		},
		{
			name: "HoldersAreClaimedFirst",
			rule: "what holds locks is claimed before everything else, whatever either is claimed for, and the longest due or not",
			why:  "§4.5: others wait for the locks, and they lapse while nobody drives the execution",
			run:  holdersAreClaimedFirst,
		},
		{
			name: "HoldersAreAskedForAlone",
			rule: "a claim of holders returns what holds locks and nothing else, as far as it may be claimed, due or let go or of an instance without a lease",
			why:  "§4.5: an instance that has no room for more takes these",
			run:  holdersAreAskedForAlone,
		},
		{
			name: "HoldersAreLeftAloneLikeOthers",
			rule: "that an execution holds locks does not make it claimable: not while it has an owner, nor before it is due, nor of another plan",
			why:  "I2: it is a matter of the order",
			run: func(r *rig) {
				r.make("owned", holding)
				r.make("other plan", holding, ofPlan(store.PlanID{Workflow: "another", Fingerprint: "f"}), ownedByNobody, dueAt(r.now().Add(-time.Hour)))
				r.letGo(r.make("later", holding), r.now().Add(time.Hour))
				r.letGo(r.make("dormant", holding), time.Time{})
				r.letGo(r.make("due"), r.now().Add(-time.Minute))
				r.wantClaimed("with holders that may not be claimed", r.asking(r.instance("other")), "due")
			},
		},
		{
			name: "ClaimsReachAll",
			rule: "claims of a few at a time reach each execution that may be claimed, once, whatever it is claimed for",
			why:  "I8: one that is passed over again and again is stuck",
			run:  claimsReachAll,
		},
		{
			name: "ClaimOfNothingIsEmpty",
			rule: "a claim of which there is nothing returns nothing, and no error",
			why:  "I8: an instance with nothing to do goes on asking",
			run: func(r *rig) {
				r.wantClaimed("in an empty store", r.asking(r.me))
			},
		},
	}
}

func otherPlansAreLeftAlone(r *rig) {
	lost := r.instance("lost")
	past := r.now().Add(-time.Hour)
	plans := []store.PlanID{{Workflow: "a", Fingerprint: "1"}, {Workflow: "a", Fingerprint: "2"}, {Workflow: "b", Fingerprint: "1"}, {Workflow: "b", Fingerprint: "2"}}
	for i, p := range plans {
		r.make(fmt.Sprintf("due-%d", i), ofPlan(p), ownedByNobody, dueAt(past))
		x := r.make(fmt.Sprintf("lapsed-%d", i), ofPlan(p), ownedBy(lost))
		r.deliver(x.Key, "m")
		r.release(r.me, r.make(fmt.Sprintf("released-%d", i), ofPlan(p)))
	}
	r.lapse(lost)
	other := r.instance("other")
	got := map[string]store.Claimed{}
	r.eventually("both plans' executions are claimed", func() (bool, string) {
		c := r.asking(other)
		c.Plans = []store.PlanID{plans[1], plans[2], {Workflow: "c", Fingerprint: "1"}}
		for _, x := range r.claim(c) {
			got[x.ID] = x
			if p := (store.PlanID{Workflow: x.Workflow, Fingerprint: x.Fingerprint}); p != plans[1] && p != plans[2] {
				r.Fatalf("claimed %s of the plan %v", x.ID, p)
			}
		}
		return len(got) == 6, fmt.Sprint(len(got))
	})
	c := r.asking(other)
	c.Plans = nil
	r.wantClaimed("without a plan", c)
	c.Plans, c.ID = []store.PlanID{{Workflow: "a"}, {Fingerprint: "1"}}, r.id()
	r.wantClaimed("with halves of plans", c)
}

func holdersAreClaimedFirst(r *rig) {
	lost := r.instance("lost")
	want := map[string]bool{}
	const of = 12
	for i := range of {
		who := "other"
		if i%2 == 1 {
			who = "holder"
		}
		x := func(kind string, changes ...func(x *store.Snapshot)) *store.Snapshot {
			id := fmt.Sprintf("%s %s %d", who, kind, i)
			if who == "holder" {
				want[id], changes = true, append(changes, holding)
			}
			return r.make(id, changes...)
		}
		r.letGo(x("due"), r.now().Add(-time.Duration(of-i)*time.Minute))
		r.release(r.me, x("released"))
		x("lapsed", ownedBy(lost))
	}
	r.lapse(lost)
	holders := len(want)
	others := 0
	r.eventually("all holders are claimed", func() (bool, string) {
		c := r.asking(r.me)
		c.Limit = 5
		list := r.claim(c)
		for _, x := range list {
			if !want[x.ID] {
				others++
			}
			delete(want, x.ID)
		}
		if len(want) > 0 && others > 0 {
			r.Fatalf("%d that hold nothing were claimed, and %d holders were not", others, len(want))
		}
		return len(want) == 0, fmt.Sprintf("%d of %d holders are missing", len(want), holders)
	})
}

func holdersAreAskedForAlone(r *rig) {
	lost := r.instance("lost")
	for _, holds := range []bool{true, false} {
		x := func(id string, changes ...func(x *store.Snapshot)) *store.Snapshot {
			if holds {
				return r.make("holder "+id, append(changes, holding)...)
			}
			return r.make("other "+id, changes...)
		}
		r.letGo(x("due"), r.now().Add(-time.Minute))
		r.letGo(x("later"), r.now().Add(time.Hour))
		r.release(r.me, x("released"))
		x("lapsed", ownedBy(lost))
		x("owned")
	}
	r.lapse(lost)
	other := r.instance("other")
	want := []string{"holder due", "holder lapsed", "holder released"}
	var got []string
	r.eventually("all holders are claimed", func() (bool, string) {
		c := r.asking(other)
		c.Holders = true
		for _, x := range r.claim(c) {
			got = append(got, x.ID)
		}
		slices.Sort(got)
		if slices.ContainsFunc(got, func(id string) bool { return !slices.Contains(want, id) }) {
			r.Fatalf("a claim of holders returned %q", got)
		}
		return slices.Equal(got, want), strings.Join(got, ", ")
	})
	c := r.asking(other)
	c.Holders = true
	r.wantClaimed("when there are no more of them", c)
}

func claimsReachAll(r *rig) {
	lost := r.instance("lost")
	want := map[string]bool{}
	note := func(x *store.Snapshot) *store.Snapshot {
		want[x.ID] = true
		return x
	}
	for i := range 6 {
		r.letGo(note(r.make(fmt.Sprintf("due-%d", i))), r.now().Add(-time.Duration(i)*time.Minute))
		r.release(r.me, note(r.make(fmt.Sprintf("released-%d", i))))
		r.deliver(r.letGo(note(r.make(fmt.Sprintf("told-%d", i))), time.Time{}).Key, "m")
		note(r.make(fmt.Sprintf("lapsed-%d", i), ownedBy(lost)))
		r.finish(note(r.make(fmt.Sprintf("unsettled-%d", i))), func(h *store.Head) { h.Unsettled = true })
	}
	r.lapse(lost)
	got := map[string]bool{}
	r.eventually("all are claimed", func() (bool, string) {
		c := r.asking(r.me)
		c.Limit = 4
		list := r.claim(c)
		if len(list) > 4 {
			r.Fatalf("a claim of 4 returned %d", len(list))
		}
		for _, x := range list {
			if got[x.ID] || !want[x.ID] {
				r.Fatalf("%s was claimed, again: %t", x.ID, got[x.ID])
			}
			got[x.ID] = true
		}
		var missing []string
		for id := range want {
			if !got[id] {
				missing = append(missing, id)
			}
		}
		slices.Sort(missing)
		return len(missing) == 0, "missing " + strings.Join(missing, ", ")
	})
}
