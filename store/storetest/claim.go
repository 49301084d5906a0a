package storetest

import (
	"maps"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// claimCases say what may be claimed by anybody.
func claimCases() []storeCase {
	return []storeCase{
		{
			name: "DueIsClaimed",
			rule: "an execution that nobody drives is claimed when it is due, and not before",
			why:  "I8: a sleep, a retry and a deadline end although nobody waits for them",
			run:  dueIsClaimed,
		},
		{
			name: "DormantIsLeftAlone",
			rule: "an execution that nobody drives, that is never due and has no message is not claimed",
			why:  "I8: it waits for something outside, and there is nothing to do for it",
			run: func(r *rig) {
				r.letGo(r.make("x"), time.Time{})
				r.wantClaimed("of one that is dormant", r.asking(r.me))
			},
		},
		{
			name: "OwnedIsLeftAlone",
			rule: "an execution whose owner has a lease is claimed by nobody, not by its owner either, be it due or have messages",
			why:  "I2: taking it away would break what its owner does",
			run: func(r *rig) {
				x := r.make("x", dueAt(r.now().Add(-time.Hour)))
				r.deliver(x.Key, "m")
				r.wantClaimed("by another", r.asking(r.instance("other")))
				r.wantClaimed("by its owner", r.asking(r.me))
				c := r.asking(r.instance("other"))
				c.Keys = []store.Key{x.Key}
				r.wantClaimed("by another, by its key", c)
				r.put(r.write(x))
			},
		},
		{
			name: "ReleasedIsClaimedAtOnce",
			rule: "what was released is claimed at once, be it due or not",
			why:  "I8: its owner had something to do for it, and gave it up",
			run: func(r *rig) {
				for id, due := range map[string]time.Time{"a": {}, "b": r.now().Add(time.Hour), "c": r.now().Add(-time.Hour)} {
					r.release(r.me, r.make(id, dueAt(due)))
				}
				r.wantClaimed("of what was released", r.asking(r.instance("other")), "a", "b", "c")
			},
		},
		{
			name: "ReleaseIsForOneClaim",
			rule: "what was released and claimed is an execution like any other when its next owner lets it go",
			why:  "I8: a sleep is not over because the execution was once released",
			run: func(r *rig) {
				x := r.make("x")
				r.release(r.me, x)
				x = r.claimOne(r.asking(r.me), x.Key).Snapshot
				r.letGo(x, r.now().Add(time.Hour))
				r.wantClaimed("of what sleeps", r.asking(r.instance("other")))
			},
		},
		{
			name: "MessageWakes",
			rule: "an execution that nobody drives is claimed when it has messages, whenever it is due, and comes with them",
			why:  "I8: what comes from outside is worked on",
			run: func(r *rig) {
				never, later := r.letGo(r.make("never"), time.Time{}), r.letGo(r.make("later"), r.now().Add(time.Hour))
				c := r.asking(r.instance("other"))
				r.wantClaimed("before there are messages", c)
				r.deliver(never.Key, "a")
				r.deliver(later.Key, "a")
				r.deliver(later.Key, "b")
				for _, x := range r.wantClaimed("when there are", r.asking(c.Instance), "never", "later") {
					want := []string{"a", "b"}
					if x.ID == "never" {
						want = want[:1]
					}
					r.wantMessages("what "+x.ID+" has", x.Inbox, want)
				}
			},
		},
		{
			name: "MessageThatCameBeforeWakes",
			rule: "an execution that is let go with messages that its writer has not consumed may be claimed at once",
			why:  "I8: a message that comes just before the write would wait until the next one",
			run: func(r *rig) {
				x := r.make("x")
				r.deliver(x.Key, "read")
				w := r.write(x)
				w.Consumed, w.Release = []string{"read"}, true
				r.deliver(x.Key, "late")
				r.put(w)
				got := r.claimOne(r.asking(r.instance("other")), x.Key)
				r.wantMessages("what it has", got.Inbox, []string{"late"})
			},
		},
		{
			name: "FinishedIsLeftAlone",
			rule: "an execution that has finished, settled and has no message is claimed by nobody: not when it is due, nor when it is released, nor when its owner's lease has lapsed",
			why:  "I1: there is nothing to do for it",
			run:  finishedIsLeftAlone,
		},
		{
			name: "UnsettledIsClaimed",
			rule: "an execution that has finished and is unsettled is claimed like one that has not: at once when it has no DueAt, when it is due, and when its owner's lease has lapsed",
			why:  "I8: locks that it has are given back, and a parent is told, although the instance died that was to do it",
			run:  unsettledIsClaimed,
		},
		{
			name: "MessageToTheFinishedWakes",
			rule: "an execution that has finished is claimed when it has messages",
			why:  "I6: a failed one is resumed by a message, and a finished child is undone by one",
			run: func(r *rig) {
				for _, state := range []store.ExecutionState{store.Done, store.Reverted, store.Failed} {
					x := r.finish(r.make(string(state)), func(h *store.Head) { h.State = state })
					r.wantClaimed("of one that is "+string(state), r.asking(r.me))
					r.deliver(x.Key, "m")
					got := r.claimOne(r.asking(r.me), x.Key)
					r.wantMessages("what it has", got.Inbox, []string{"m"})
					w := r.write(got.Snapshot)
					w.Head.State, w.Consumed = store.Compensating, []string{"m"}
					r.put(w)
				}
			},
		},
		{
			name: "ClaimRaisesEpochAndRevisionByOne",
			rule: "a claim raises the epoch and the revision by exactly one, and makes the instance the owner",
			why:  "I2: each owner has an epoch of its own, and locks are taken over by the next",
			run: func(r *rig) {
				x := r.put(r.write(r.make("x")))
				for epoch := uint64(2); epoch < 6; epoch++ {
					r.release(x.Owner, x)
					i := r.instance("another")
					x = r.claimOne(r.asking(i), x.Key).Snapshot
					if want := (store.Fence{Owner: i, Epoch: epoch, Revision: epoch + 1}); x.Fence != want {
						r.Fatalf("the fence is %s, want %s", fenceText(x.Fence), fenceText(want))
					}
				}
			},
		},
		{
			name: "ClaimReturnsAllThatIsKept",
			rule: "a claim returns all that is kept of an execution, as it is then, with the fence that its owner writes under",
			why:  "I1: its owner goes on from there",
			run: func(r *rig) {
				given := r.full("x")
				given.Fingerprint = thePlan.Fingerprint
				r.create(given)
				r.deliver(given.Key, "c")
				r.release(r.me, r.load(given.Key))
				got := r.claimOne(r.asking(r.me), given.Key)
				given.Epoch, given.Revision = 2, 2
				given.Inbox = append(given.Inbox, store.Message{ID: "c", Data: []byte("says c")})
				r.same("what was claimed", got.Snapshot, given)
				r.same("what is loaded", r.load(given.Key), given)
				r.put(r.write(got.Snapshot))
			},
		},
	}
}

func dueIsClaimed(r *rig) {
	r.letGo(r.make("past"), r.now().Add(-time.Nanosecond))
	r.letGo(r.make("later"), r.now().Add(time.Hour))
	soon := r.make("soon")
	due := r.now().Add(r.short())
	r.letGo(soon, due)
	got := r.wantClaimedUntil(due, r.asking(r.me), "past")
	r.pass(due.Sub(r.now()))
	r.claimTheRest(got, soon)
	if _, ok := got["past"]; !ok || len(got) != 2 || r.now().Before(due) {
		r.Errorf("claimed %d executions, of them the one that had been due: %t, %s after the other was; want the two", len(got), ok, r.now().Sub(due))
	}
}

// wantClaimedUntil is wantClaimed, but for what may have been claimed after the moment,
// where the machine is busy. It returns what was claimed.
func (r *rig) wantClaimedUntil(moment time.Time, c store.Claim, want ...string) map[string]store.Claimed {
	r.Helper()
	list := r.claim(c)
	if r.now().Before(moment) && ids(list) != (ids(claimedOf(want))) {
		r.Errorf("Claim of %s returned %q, want %q", c.Instance, ids(list), want)
	}
	got := map[string]store.Claimed{}
	for _, x := range list {
		got[x.ID] = x
	}
	return got
}

// claimTheRest claims those of the list that were not claimed yet, and adds them.
func (r *rig) claimTheRest(got map[string]store.Claimed, list ...*store.Snapshot) {
	r.Helper()
	rest := slices.DeleteFunc(list, func(x *store.Snapshot) bool {
		_, ok := got[x.ID]
		return ok
	})
	if len(rest) > 0 {
		maps.Copy(got, r.claimEventually(r.asking(r.me), rest...))
	}
}

func claimedOf(names []string) (list []store.Claimed) {
	for _, id := range names {
		list = append(list, store.Claimed{Snapshot: &store.Snapshot{Identity: store.Identity{Key: store.Key{ID: id}}}})
	}
	return list
}

func finishedIsLeftAlone(r *rig) {
	past := func(h *store.Head) { h.DueAt = r.now().Add(-time.Hour) }
	lost := r.instance("lost")
	for _, state := range []store.ExecutionState{store.Done, store.Reverted, store.Failed} {
		end := func(h *store.Head) { h.State = state }
		r.finish(r.make("let go "+string(state)), end, past)
		r.finish(r.make("let go, never due "+string(state)), end)
		released := r.make("released "+string(state), inState(state))
		r.release(r.me, released)
		r.make("lapsed "+string(state), inState(state), ownedBy(lost))
	}
	running := r.make("running", ownedBy(lost))
	r.lapse(lost)
	other := r.instance("other")
	if got := r.claimEventually(r.asking(other), running); len(got) != 1 {
		r.Errorf("claimed %d executions, want only the one that has not finished: %v", len(got), got)
	}
	var keys []store.Key
	page, err := r.s.List(r.ctx, store.Query{})
	if err != nil || len(page.Executions) < 13 {
		r.Fatal(len(page.Executions), err)
	}
	for _, x := range page.Executions {
		if x.ID != "running" {
			keys = append(keys, x.Key)
		}
	}
	c := r.asking(other)
	c.Keys = keys
	r.wantClaimed("of the finished ones by their keys", c)
}

func unsettledIsClaimed(r *rig) {
	lost := r.instance("lost")
	stays := func(h *store.Head) { h.Unsettled = true }
	r.finish(r.make("at once"), stays)
	r.finish(r.make("due"), stays, func(h *store.Head) { h.DueAt = r.now().Add(-time.Second) })
	r.finish(r.make("later"), stays, func(h *store.Head) { h.DueAt = r.now().Add(time.Hour) })
	lapsed, soon := r.make("lapsed", inState(store.Failed), unsettled, ownedBy(lost)), r.make("soon")
	due := r.now().Add(r.short())
	r.finish(soon, stays, func(h *store.Head) { h.DueAt = due })
	got := r.wantClaimedUntil(due, r.asking(r.me), "at once", "due")
	r.lapse(lost)
	r.pass(due.Sub(r.now()))
	r.claimTheRest(got, soon, lapsed)
	if _, ok := got["later"]; ok {
		r.Errorf("one that is due later was claimed")
	}
	x := got["lapsed"]
	w := r.write(x.Snapshot)
	w.Head.Unsettled, w.Release = false, true
	r.put(w)
	r.wantClaimed("of what has settled", r.asking(r.instance("other")))
}
