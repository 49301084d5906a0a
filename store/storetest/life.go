package storetest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

func lifeCases() []storeCase {
	return []storeCase{
		{
			name: "DescribesItself",
			rule: "a store has an ID that stays, and that no other store has; it is durable and shared when its subject is",
			why:  "I2: the ID is part of the owner of every lock",
			run: func(r *rig) {
				info := r.s.Describe()
				r.make("x")
				if info.ID == "" || info != r.s.Describe() {
					r.Errorf("%+v, and then %+v", info, r.s.Describe())
				}
				if info.Shared != (r.subject.Another != nil) || info.Durable != (r.subject.Reopen != nil) {
					r.Errorf("%+v; the subject can be opened by another: %t, and again: %t", info, r.subject.Another != nil, r.subject.Reopen != nil)
				}
				other := r.subject.New(r.TB)
				defer r.close(other)
				if other.Describe().ID == info.ID {
					r.Errorf("two stores have the ID %q", info.ID)
				}
				for _, s := range r.handles(2) {
					if s.Describe() != info {
						r.Errorf("the store is %+v to one and %+v to another", info, s.Describe())
					}
				}
			},
		},
		{
			name: "StoresAreApart",
			rule: "two stores know nothing of each other",
			why:  "I9: a key is that of one store",
			run: func(r *rig) {
				x := r.make("x")
				other := r.subject.New(r.TB)
				defer r.close(other)
				if got, err := other.Load(r.ctx, x.Key); !errors.Is(err, store.ErrNotFound) {
					r.Errorf("the other store has %s, %v", text(got), err)
				}
				if _, err := other.Claim(r.ctx, r.asking(r.me)); !errors.Is(err, store.ErrInstance) {
					r.Errorf("a claim in the other store: %v, want %v", err, store.ErrInstance)
				}
			},
		},
		{
			name: "ClosedStoreSaysSo",
			rule: "after it was closed every call of a store is answered by ErrClosed, and closing it again is no error",
			why:  "I8: an engine whose store is closed stops, and does not wait",
			run: func(r *rig) {
				x := r.make("x")
				for range 2 {
					if err := r.s.Close(r.ctx); err != nil {
						r.Errorf("Close: %v", err)
					}
				}
				for what, err := range r.calls(r.ctx, x) {
					if !errors.Is(err, store.ErrClosed) {
						r.Errorf("%s: %v, want %v", what, err, store.ErrClosed)
					}
				}
				r.s.Describe()
			},
		},
		{
			name: "CloseEndsAWatch",
			rule: "a watch ends with ErrClosed when its store is closed",
			why:  "I8: whoever listens learns that there is nothing to hear any more",
			run: func(r *rig) {
				l := r.listen(r.me)
				if err := r.s.Close(r.ctx); err != nil {
					r.Fatal(err)
				}
				select {
				case err := <-l.ended:
					l.ended <- err
					if !errors.Is(err, store.ErrClosed) {
						r.Errorf("Watch returned %v, want %v", err, store.ErrClosed)
					}
				case <-time.After(r.patience):
					r.Errorf("the watch has not ended within %s", r.patience)
				}
			},
		},
		{
			name: "EndedContextChangesNothing",
			rule: "a call whose context had ended before it is answered by the context's error, and changes nothing",
			why:  "I2: an instance that has stopped writes nothing more",
			run: func(r *rig) {
				x := r.make("x")
				released := r.make("released")
				r.release(r.me, released)
				done := r.make("done", inState(store.Done))
				want := []*store.Snapshot{x, r.load(released.Key), done}
				ended, cancel := context.WithCancel(r.ctx)
				cancel()
				late, stop := context.WithDeadline(r.ctx, time.Now().Add(-time.Second))
				defer stop()
				for _, ctx := range []context.Context{ended, late} {
					for what, err := range r.calls(ctx, x) {
						if !errors.Is(err, ctx.Err()) {
							r.Errorf("%s: %v, want %v", what, err, ctx.Err())
						}
					}
					if err := r.s.Forget(ctx, done.Key, done.RunUID); !errors.Is(err, ctx.Err()) {
						r.Errorf("Forget of what has finished: %v, want %v", err, ctx.Err())
					}
					if list, err := r.s.Claim(ctx, r.asking(r.me)); !errors.Is(err, ctx.Err()) || len(list) != 0 {
						r.Errorf("Claim: %v, %v, want %v", list, err, ctx.Err())
					}
				}
				for _, w := range want {
					r.same(w.ID, r.load(w.Key), w)
				}
				r.wantGone(r.fresh("another").Key)
				r.put(r.write(x)) // its owner has not been ended
				r.wantClaimed("after all of them", r.asking(r.me), "released")
			},
		},
		{
			name:    "ReopenedHasAll",
			rule:    "a durable store that is opened again has all that it had",
			why:     "I1: what was acknowledged outlives the process",
			durable: true,
			run:     reopenedHasAll,
		},
		{
			name:   "HandlesSeeOneAnother",
			rule:   "what is done in one process is seen in another that shares the store, at once",
			why:    "I8: an instance goes on where another has ended",
			shared: true,
			run: func(r *rig) {
				second := r.handles(2)[1]
				x := r.make("x")
				got, err := second.Load(r.ctx, x.Key)
				if err != nil {
					r.Fatal(err)
				}
				r.same("what the other loads", got, x)
				if errs := second.Commit(r.ctx, []store.Write{r.write(x)}); errs[0] != nil {
					r.Errorf("a write through the other: %v", errs[0])
				}
				r.wantFenced("after a write through the other", r.write(x))
				r.release(r.me, r.load(x.Key))
				list, err := second.Claim(r.ctx, r.asking(r.me))
				if err != nil || ids(list) != "x" {
					r.Errorf("a claim through the other: %q, %v", ids(list), err)
				}
				r.end(r.me)
				if err := second.Heartbeat(r.ctx, r.me, forLong); !errors.Is(err, store.ErrInstance) {
					r.Errorf("a heartbeat through the other, after the end: %v, want %v", err, store.ErrInstance)
				}
			},
		},
	}
}

// calls makes every call of a store but Close, and yields its answer. In an open store,
// all but the reading ones would change something.
func (r *rig) calls(ctx context.Context, x *store.Snapshot) map[string]error {
	answers := map[string]error{}
	_, answers["Create"] = r.s.Create(ctx, r.fresh("another"))
	_, answers["Create of what is there"] = r.s.Create(ctx, r.fresh(x.ID))
	w := r.write(x)
	w.Head.Output = []byte("changed")
	for i, err := range r.s.Commit(ctx, []store.Write{w, r.write(r.fresh("missing"))}) {
		answers["Commit, write "+string(rune('1'+i))] = err
	}
	if n := len(r.s.Commit(ctx, []store.Write{w, w, w})); n != 3 {
		answers["Commit"] = errors.New("the number of answers is not that of the writes")
	}
	named := r.asking(r.me)
	named.Keys = []store.Key{x.Key}
	_, answers["Claim"] = r.s.Claim(ctx, named)
	answers["Heartbeat"] = r.s.Heartbeat(ctx, r.me, time.Nanosecond)
	answers["Release"] = r.s.Release(ctx, r.me, []store.Held{{Key: x.Key, Epoch: x.Epoch}})
	answers["End"] = r.s.End(ctx, r.me)
	answers["Deliver"] = r.s.Deliver(ctx, x.Key, store.Message{ID: "m"})
	_, answers["Inbox"] = r.s.Inbox(ctx, x.Key)
	_, answers["Unread"] = r.s.Unread(ctx, r.me)
	_, answers["Load"] = r.s.Load(ctx, x.Key)
	_, answers["List"] = r.s.List(ctx, store.Query{})
	_, answers["List with a bad cursor"] = r.s.List(ctx, store.Query{Cursor: "!"})
	answers["Watch"] = r.s.Watch(ctx, r.me, func(store.Notice) {})
	answers["Forget"] = r.s.Forget(ctx, x.Key, x.RunUID)
	return answers
}

func reopenedHasAll(r *rig) {
	x := r.full("x")
	x.Fingerprint = thePlan.Fingerprint
	r.create(x)
	w := r.write(r.load(x.Key))
	w.Cells = []store.Cell{{ID: 0}, {ID: 5, Data: []byte("five")}}
	r.put(w)
	r.deliver(x.Key, "m")
	r.letGo(r.make("sleeps"), r.now().Add(-time.Second))
	forgotten := r.make("forgotten", inState(store.Done))
	r.forget(forgotten, nil)
	want := r.load(x.Key)
	info := r.s.Describe()

	r.raw = r.subject.Reopen(r.TB, r.raw)
	r.s = r.seen(r.raw)
	reopened := r.raw
	r.Cleanup(func() { r.close(reopened) })
	r.same("what is loaded", r.load(x.Key), want)
	r.same("what is loaded after a repetition of the last write", r.put(w), want)
	r.wantGone(forgotten.Key)
	if got := r.s.Describe(); got != info {
		r.Errorf("the store is %+v, and was %+v", got, info)
	}
	next := r.instance(r.me.Node)
	c := r.asking(next)
	c.Predecessors = true
	list := r.wantClaimed("after a restart", c, "x", "sleeps")
	i := slices.IndexFunc(list, func(x store.Claimed) bool { return x.ID == "x" })
	if i < 0 || !list[i].Unclean || list[i].Epoch != 2 {
		r.Errorf("claimed %v; want what the start before had, of an unclean owner, in epoch 2", list)
	}
}
