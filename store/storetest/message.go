package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

func messageCases() []storeCase {
	return []storeCase{
		{
			name: "DeliveredIsInTheInboxInOrder",
			rule: "what is delivered is in the inbox, in the order in which it came, whoever owns the execution and whatever its state",
			why:  "I3: an outside event is stored first, and one that comes early waits",
			run: func(r *rig) {
				for id, x := range map[string]*store.Snapshot{
					"owned": r.make("owned"), "other's": r.make("other's", ownedBy(r.instance("other"))), "nobody's": r.make("nobody's", ownedByNobody),
					"not started": r.make("not started", inState(store.NotStarted)), "finished": r.finish(r.make("finished")),
				} {
					r.wantInbox(id+", before", x.Key)
					r.deliver(x.Key, "b")
					r.deliver(x.Key, "a")
					r.deliver(x.Key, "")
					r.wantInbox(id, x.Key, "b", "a", "")
				}
			},
		},
		{
			name: "DeliveredTwiceIsStoredOnce",
			rule: "a message whose ID is in the inbox is not stored again, and the first one stays where and what it is",
			why:  "I2: its sender has lost the answer",
			run: func(r *rig) {
				x := r.make("x")
				r.deliver(x.Key, "a")
				r.deliver(x.Key, "b")
				if err := r.s.Deliver(r.ctx, x.Key, store.Message{ID: "a", Data: []byte("another")}); err != nil {
					r.Fatal(err)
				}
				r.wantInbox("after a repetition", x.Key, "a", "b")
				y := r.make("y")
				r.deliver(y.Key, "a")
				r.wantInbox("of another execution", y.Key, "a")
			},
		},
		{
			name: "DeliveryLeavesTheFence",
			rule: "a delivery changes neither owner, epoch nor revision: the owner writes on",
			why:  "I2: a sender must not fence the owner",
			run: func(r *rig) {
				x := r.make("x")
				r.deliver(x.Key, "m")
				got := r.load(x.Key)
				x.Inbox = got.Inbox
				r.same("after a delivery", got, x)
				r.put(r.write(x))
				r.wantInbox("after a write", x.Key, "m")
			},
		},
		{
			name: "NobodyToDeliverTo",
			rule: "a message to an execution that is not there is answered by ErrNotFound, and so is the reading of its inbox and its loading",
			why:  "I3: a sender learns that nobody will have it",
			run: func(r *rig) {
				key := r.fresh("x").Key
				if err := r.s.Deliver(r.ctx, key, store.Message{ID: "m"}); !errors.Is(err, store.ErrNotFound) {
					r.Errorf("Deliver: %v, want %v", err, store.ErrNotFound)
				}
				if list, err := r.s.Inbox(r.ctx, key); !errors.Is(err, store.ErrNotFound) || len(list) != 0 {
					r.Errorf("Inbox: %v, %v, want %v", list, err, store.ErrNotFound)
				}
				r.wantGone(key)
				x := r.make("x")
				r.wantInbox("of what was created since", x.Key)
			},
		},
		{
			name: "ConsumedIsGone",
			rule: "a write rids the inbox of the messages that it names, and of no others; those that are not there are no error",
			why:  "I3: a message is consumed in the write that records what follows from it",
			run: func(r *rig) {
				x := r.make("x")
				for _, id := range []string{"a", "b", "c", "d", "aa"} {
					r.deliver(x.Key, id)
				}
				w := r.write(x)
				w.Consumed = []string{"c", "missing", "a", "a"}
				x = r.put(w)
				r.wantInbox("after a write", x.Key, "b", "d", "aa")
				w = r.write(x)
				w.Consumed = []string{"aa", "d", "b"}
				x = r.put(w)
				r.wantInbox("after another", x.Key)
				r.deliver(x.Key, "e")
				r.wantInbox("after a delivery", x.Key, "e")
			},
		},
		{
			name: "ConsumedMayComeAgain",
			rule: "a message that comes after one with its ID was consumed is a new one",
			why:  "I8: the store need not know every message that there ever was",
			run: func(r *rig) {
				x := r.make("x")
				r.deliver(x.Key, "m")
				w := r.write(x)
				w.Consumed = []string{"m"}
				r.put(w)
				r.deliver(x.Key, "m")
				r.wantInbox("after a second delivery", x.Key, "m")
			},
		},
		{
			name: "ManyMessagesKeepTheirOrder",
			rule: "an inbox may have hundreds of messages, in order, of which any are consumed",
			why:  "I3: senders do not wait for the owner",
			run: func(r *rig) {
				x := r.make("x")
				var want, consumed []string
				for i := range 200 {
					id := fmt.Sprintf("m-%d", i*7919%200)
					r.deliver(x.Key, id)
					if i%3 == 0 {
						want = append(want, id)
					} else {
						consumed = append(consumed, id)
					}
				}
				w := r.write(x)
				w.Consumed = consumed
				r.put(w)
				r.wantInbox("after two of three were consumed", x.Key, want...)
				for _, id := range slices.Backward(want) {
					r.deliver(x.Key, id)
				}
				r.deliver(x.Key, consumed[0])
				r.wantInbox("after more deliveries", x.Key, append(want, consumed[0])...)
			},
		},
		{
			name: "ManySendersLoseNothing",
			rule: "of messages that many deliver at once, while the owner writes, each is there once, and those of one sender are in order",
			why:  "I3: what was acknowledged is stored",
			run:  manySendersLoseNothing,
		},
		{
			name: "UnreadAreOwnedWithMessages",
			rule: "what an instance has unread are the executions that it owns and that have messages",
			why:  "I8: a message whose notice was lost is found without asking for each execution",
			run:  unreadAreOwned,
		},
	}
}

func manySendersLoseNothing(r *rig) {
	const senders, each = 8, 25
	x := r.make("x")
	handles := r.handles(senders)
	var wg sync.WaitGroup
	for i, s := range handles {
		wg.Go(func() {
			for n := range each {
				if err := s.Deliver(r.ctx, x.Key, store.Message{ID: fmt.Sprintf("%d-%03d", i, n)}); err != nil {
					r.Errorf("sender %d: %v", i, err)
				}
			}
		})
	}
	for range 40 {
		w := r.write(x)
		if err := r.commit(w); err != nil {
			r.Errorf("the owner's write: %v", err)
			break
		}
		x.Revision++
	}
	wg.Wait()
	var got []string
	for _, m := range r.load(x.Key).Inbox {
		got = append(got, m.ID)
	}
	for i := range senders {
		var want, from []string
		for n := range each {
			want = append(want, fmt.Sprintf("%d-%03d", i, n))
		}
		for _, id := range got {
			if strings.HasPrefix(id, fmt.Sprintf("%d-", i)) {
				from = append(from, id)
			}
		}
		if !slices.Equal(from, want) {
			r.Errorf("of sender %d there is %q, want %q", i, from, want)
		}
	}
	if len(got) != senders*each {
		r.Errorf("there are %d messages, want %d", len(got), senders*each)
	}
}

// wantUnread expects the instance to have messages for the executions with the ids.
func (r *rig) wantUnread(what string, i store.Instance, want ...string) {
	r.Helper()
	keys, err := r.s.Unread(r.ctx, i)
	if err != nil {
		r.Fatalf("Unread of %s: %v", i, err)
	}
	var got []string
	for _, k := range keys {
		got = append(got, k.ID)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		r.Errorf("%s: Unread of %s returned %q, want %q", what, i, got, want)
	}
}

func unreadAreOwned(r *rig) {
	other := r.instance("other")
	a, b := r.make("a"), r.make("b")
	r.make("quiet")
	theirs := r.make("theirs", ownedBy(other))
	nobodys := r.make("nobody's", ownedByNobody)
	r.wantUnread("before any", r.me)
	for _, x := range []*store.Snapshot{a, b, theirs, nobodys} {
		r.deliver(x.Key, "m")
		r.deliver(x.Key, "n")
	}
	r.wantUnread("after deliveries", r.me, "a", "b")
	r.wantUnread("after deliveries", other, "theirs")
	r.wantUnread("after deliveries", r.unleased("strange"))
	w := r.write(a)
	w.Consumed = []string{"m"}
	a = r.put(w)
	r.wantUnread("when one of two is consumed", r.me, "a", "b")
	w = r.write(a)
	w.Consumed = []string{"n"}
	r.put(w)
	r.wantUnread("when both are", r.me, "b")
	c := r.asking(other)
	c.Keys = []store.Key{nobodys.Key}
	r.claimOne(c, nobodys.Key)
	r.wantUnread("after a claim", other, "theirs", "nobody's")
	r.release(r.me, b)
	r.wantUnread("after a release", r.me)
	w = r.write(r.make("let go"))
	w.Release = true
	r.put(w)
	r.deliver(w.Key, "m")
	r.wantUnread("of what was let go", r.me)
	done := r.make("done")
	w = r.write(done)
	w.Head.State, w.Head.FinishedAt = store.Failed, r.now()
	r.put(w)
	r.deliver(done.Key, "m")
	r.wantUnread("of what has finished", r.me, "done")
	r.end(other)
	r.wantUnread("after its end", other)
	if got := r.letGo(r.make("again"), time.Time{}); !got.Owner.None() {
		r.Errorf("the owner is %s", got.Owner)
	}
}
