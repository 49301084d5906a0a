package storetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

func forgetCases() []storeCase {
	return []storeCase{
		{
			name: "ForgetDeletesTheFinished",
			rule: "an execution that has finished and settled is deleted when it is forgotten, with all that belongs to it; done again, nothing is",
			why:  "I9: it is kept until then, and no longer",
			run: func(r *rig) {
				for _, state := range []store.ExecutionState{store.Done, store.Reverted, store.Failed} {
					x := r.make("x", inState(state), func(x *store.Snapshot) { x.ForgetAt = r.now().Add(time.Hour) })
					r.deliver(x.Key, "m")
					r.forget(x, nil)
					r.wantGone(x.Key)
					r.wantNothingThere(r.write(x))
					r.wantListed("after it was forgotten", store.Query{})
					r.wantUnread("after it was forgotten", r.me)
					c := r.asking(r.me)
					c.Keys = []store.Key{x.Key}
					r.wantClaimed("after it was forgotten", c)
					r.forget(x, nil)
				}
			},
		},
		{
			name: "UnfinishedIsNotForgotten",
			rule: "an execution that has not finished, or not settled, is not deleted, and ErrUnsettled says so",
			why:  "I8: there is something to do for it; whoever wanted it forgotten asks again",
			run: func(r *rig) {
				for _, state := range []store.ExecutionState{store.NotStarted, store.Invoking, store.WaitingToCompensate, store.Compensating} {
					x := r.make(string(state), inState(state))
					r.forget(x, store.ErrUnsettled)
					r.same("what has not finished", r.load(x.Key), x)
				}
				x := r.make("unsettled", inState(store.Done), unsettled)
				r.forget(x, store.ErrUnsettled)
				r.same("what has not settled", r.load(x.Key), x)
				w := r.write(x)
				w.Head.Unsettled = false
				r.put(w)
				r.forget(x, nil)
				r.wantGone(x.Key)
			},
		},
		{
			name: "AnotherRunIsNotForgotten",
			rule: "a key whose execution is of another run is left alone when one is forgotten",
			why:  "I9: it was given to a later execution",
			run: func(r *rig) {
				old := r.make("x", inState(store.Done))
				r.forget(old, nil)
				later := r.make("x", inState(store.Done))
				r.forget(old, nil)
				r.same("the later run", r.load(later.Key), later)
				r.forget(r.fresh("missing"), nil)
			},
		},
		{
			name: "ForgottenKeyIsFree",
			rule: "a key whose execution was forgotten may be used again, and nothing of the one before is there",
			why:  "I9: a key stands for one execution as long as that is kept",
			run: func(r *rig) {
				old := r.make("x", func(x *store.Snapshot) { x.Cells = append(x.Cells, store.Cell{ID: 9, Data: []byte("old")}) })
				r.deliver(old.Key, "m")
				old = r.put(r.write(r.load(old.Key)))
				w := r.write(old)
				w.Head.State, w.Head.Output, w.Head.DueAt, w.Head.ForgetAt = store.Done, []byte("old"), r.now().Add(-time.Hour), r.now().Add(time.Hour)
				w.Release = true
				r.put(w)
				r.forget(old, nil)
				given := r.fresh("x")
				r.create(given)
				got := r.load(given.Key)
				given.Epoch, given.Revision, given.CreatedAt = 1, 1, got.CreatedAt
				r.same("the new one", got, given)
				if err := r.commit(w); !errors.Is(err, store.ErrFenced) {
					r.Errorf("the last write to the one before, again: %v, want %v", err, store.ErrFenced)
				}
				r.wantInbox("the new one", given.Key)
				r.wantClaimed("of the new one", r.asking(r.instance("other")))
			},
		},
		{
			name: "RetainedUntilItIsDue",
			rule: "an execution that has finished and settled is deleted by itself when its ForgetAt is over, with its messages, and not before",
			why:  "I9: its result is there as long as was promised; what is kept for ever fills the store",
			run: func(r *rig) {
				later := r.finish(r.make("later"), func(h *store.Head) { h.ForgetAt = r.now().Add(time.Hour) })
				never, soon := r.finish(r.make("never")), r.make("soon")
				r.deliver(soon.Key, "m")
				d := r.short()
				due := r.now().Add(d)
				r.finish(soon, func(h *store.Head) { h.ForgetAt = due })
				owned := r.make("owned", inState(store.Failed), func(x *store.Snapshot) { x.ForgetAt = due })
				r.pass(due.Add(-d / 2).Sub(r.now()))
				if _, err := r.s.Load(r.ctx, soon.Key); err != nil && r.now().Before(due) {
					r.Errorf("it is gone before it was due: %v", err)
				}
				r.pass(due.Sub(r.now()))
				r.wantGoneEventually(soon.Key)
				r.wantGoneEventually(owned.Key)
				if r.now().Before(due) {
					r.Errorf("it was gone %s before it was due", due.Sub(r.now()))
				}
				r.wantListed("after it was due", store.Query{Workflow: thePlan.Workflow}, "never", "later")
				for _, x := range []*store.Snapshot{later, never} {
					r.same(x.ID, r.load(x.Key), x)
				}
				r.make("soon")
			},
		},
		{
			name: "UnsettledIsRetained",
			rule: "an execution that has not finished, or not settled, is not deleted by itself, whatever its ForgetAt; it is when it has settled",
			why:  "I8: there is something to do for it",
			run: func(r *rig) {
				past := func(x *store.Snapshot) { x.ForgetAt = r.now().Add(-time.Hour) }
				unfinished, open := r.make("unfinished", past), r.make("open", past, inState(store.Done), unsettled)
				for n := range 5 { // calls that have the store look for what is due
					r.make(fmt.Sprint("another ", n), inState(store.Done))
					r.claim(r.asking(r.me))
				}
				r.same("what has not finished", r.load(unfinished.Key), unfinished)
				r.same("what has not settled", r.load(open.Key), open)
				due := r.now().Add(r.short())
				r.finish(open, func(h *store.Head) { h.Unsettled, h.ForgetAt = false, due })
				r.pass(due.Sub(r.now()))
				r.wantGoneEventually(open.Key)
			},
		},
		{
			name: "ResumedIsRetained",
			rule: "an execution that had finished, and goes on, is not deleted at the ForgetAt that it had",
			why:  "I6: a failed execution that is resumed has work to do",
			run: func(r *rig) {
				x := r.make("x")
				due := r.now().Add(r.short())
				w := r.write(x)
				w.Head.State, w.Head.ForgetAt = store.Failed, due
				x = r.put(w)
				w = r.write(x)
				w.Head.State, w.Head.ForgetAt = store.Compensating, time.Time{}
				x = r.put(w)
				witness := r.make("witness", inState(store.Done), func(x *store.Snapshot) { x.ForgetAt = due })
				r.pass(due.Sub(r.now()))
				r.wantGoneEventually(witness.Key)
				r.same("what was resumed", r.load(x.Key), x)
			},
		},
		{
			name: "LaterRunIsRetained",
			rule: "an execution is not deleted at the ForgetAt of one that had its key before",
			why:  "I9: it has a time of its own",
			run: func(r *rig) {
				due := r.now().Add(r.short())
				old := r.make("x", inState(store.Done), func(x *store.Snapshot) { x.ForgetAt = due })
				r.forget(old, nil)
				later := r.make("x", inState(store.Done))
				witness := r.make("witness", inState(store.Done), func(x *store.Snapshot) { x.ForgetAt = due })
				r.pass(due.Sub(r.now()))
				r.wantGoneEventually(witness.Key)
				r.same("the later run", r.load(later.Key), later)
			},
		},
	}
}

func (r *rig) forget(x *store.Snapshot, want error) {
	r.Helper()
	if err := r.s.Forget(r.ctx, x.Key, x.RunUID); !errors.Is(err, want) {
		r.Errorf("Forget(%s, %q): %v, want %v", x.Key, x.RunUID, err, want)
	}
}

// wantNothingThere expects that there is nothing to write to.
func (r *rig) wantNothingThere(w store.Write) {
	r.Helper()
	if err := r.commit(w); !errors.Is(err, store.ErrNotFound) {
		r.Errorf("a write to what was forgotten: %v, want %v", err, store.ErrNotFound)
	}
}

// wantGoneEventually looks for an execution, beside calls that have the store look for
// what is due.
func (r *rig) wantGoneEventually(key store.Key) {
	r.Helper()
	r.eventually(key.String()+" is deleted", func() (bool, string) {
		r.claim(store.Claim{Instance: r.me, ID: r.id()})
		x, err := r.s.Load(r.ctx, key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return false, err.Error()
		}
		return err != nil, text(x)
	})
}
