package storetest

import (
	"errors"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

func repeatCases() []storeCase {
	return []storeCase{
		{
			name: "RepeatedWriteIsDone",
			rule: "the last write sent again, any number of times, is answered as done and changes nothing",
			why:  "I2: its answer was lost, and its writer would take itself for a stale owner",
			run: func(r *rig) {
				x := r.make("x")
				w := r.write(x)
				w.Head.Output, w.Cells = []byte("o"), []store.Cell{{ID: 1}, {ID: 3, Data: []byte("three")}}
				want := r.put(w)
				if want.Revision != 2 {
					r.Errorf("the revision is %d after one write, want 2", want.Revision)
				}
				for range 3 {
					r.same("after a repetition", r.put(w), want)
				}
			},
		},
		{
			name: "RepeatedWriteConsumesNothingNew",
			rule: "a write that is repeated does not consume a message that has come since, under the ID of one that it had consumed",
			why:  "I2: what a repetition changes is lost",
			run: func(r *rig) {
				x := r.make("x")
				r.deliver(x.Key, "m")
				w := r.write(x)
				w.Consumed = []string{"m"}
				r.put(w)
				r.wantInbox("after the write", x.Key)
				r.deliver(x.Key, "m")
				r.put(w)
				r.wantInbox("after the repetition", x.Key, "m")
			},
		},
		{
			name: "RepeatedReleasingWriteIsDone",
			rule: "a write that has let the execution go is answered as done when it is repeated, although its writer owns it no more",
			why:  "I2: its answer was lost",
			run: func(r *rig) {
				x := r.make("x")
				w := r.write(x)
				w.Release = true
				want := r.put(w)
				r.same("after a repetition", r.put(w), want)
			},
		},
		{
			name: "RepeatedWriteIsDoneAfterARelease",
			rule: "the last write is answered as done when it is repeated after the execution was released or claimed, and takes nothing from who has it",
			why:  "I2: it was made, and whoever waits for it is told so",
			run: func(r *rig) {
				x := r.make("x")
				w := r.write(x)
				w.Head.Output, w.Release, w.Head.DueAt = []byte("o"), true, r.now().Add(-time.Second)
				r.put(w)
				want := r.claimOne(r.asking(r.instance("other")), x.Key).Snapshot
				r.same("after a claim and a repetition", r.put(w), want)

				y := r.make("y")
				w = r.write(y)
				y = r.put(w)
				r.release(r.me, y)
				want = r.load(y.Key)
				r.same("after a release and a repetition", r.put(w), want)
			},
		},
		{
			name: "AnotherWriteAtItsRevisionIsFenced",
			rule: "another write under the fence of the last one is refused, as its ID tells",
			why:  "I2: it would be taken for done, and is nowhere",
			run: func(r *rig) {
				x := r.make("x")
				w := r.write(x)
				want := r.put(w)
				w.ID = r.id()
				w.Head.Output = []byte("another")
				r.wantFenced("with another ID", w)
				r.same("after it", r.load(x.Key), want)
			},
		},
		{
			name: "SameIDOfAnotherFenceIsFenced",
			rule: "a write with the ID of the last one, but under another owner, epoch or revision, is refused",
			why:  "I2: IDs tell writes apart at one revision, and not beyond",
			run: func(r *rig) {
				x := r.make("x")
				w := r.write(x)
				want := r.put(w)
				for what, change := range map[string]func(f *store.Fence){
					"another owner":     func(f *store.Fence) { f.Owner = r.instance("other") },
					"nobody":            func(f *store.Fence) { f.Owner = store.Instance{} },
					"another epoch":     func(f *store.Fence) { f.Epoch++ },
					"an older epoch":    func(f *store.Fence) { f.Epoch-- },
					"an older revision": func(f *store.Fence) { f.Revision-- },
					"a later revision":  func(f *store.Fence) { f.Revision += 2 },
				} {
					other := w
					change(&other.Fence)
					r.wantFenced("under "+what, other)
				}
				r.same("after them", r.load(x.Key), want)
			},
		},
		{
			name: "RepetitionOfAnOlderWriteIsFenced",
			rule: "a write that others have followed is refused when it is repeated, and changes nothing",
			why:  "I2: a message that was on its way for long must not undo what came after",
			run: func(r *rig) {
				x := r.make("x")
				first := r.write(x)
				first.Cells = []store.Cell{{ID: 1, Data: []byte("first")}}
				second := r.write(r.put(first))
				second.Cells = []store.Cell{{ID: 1, Data: []byte("second")}}
				want := r.put(second)
				r.wantFenced("the first again", first)
				r.same("after it", r.load(x.Key), want)
				r.same("after the second again", r.put(second), want)
			},
		},
		{
			name: "RepeatedClaimReturnsTheSame",
			rule: "a claim that is repeated, as its ID tells, returns what the first has claimed, as it was returned, and takes no further epoch",
			why:  "I8: its answer was lost, and a live owner that does not know that it owns drives nothing",
			run:  repeatedClaimReturnsTheSame,
		},
		{
			name: "RepeatedClaimLeavesOutWhatHasGoneOn",
			rule: "a claim that is repeated does not return what was written or released since",
			why:  "I2: the instance knows of it, and drives it",
			run: func(r *rig) {
				a, b, d := r.make("a"), r.make("b"), r.make("c")
				r.release(r.me, a, b, d)
				c := r.asking(r.instance("other"))
				list := r.wantClaimed("the first time", c, "a", "b", "c")
				for _, x := range list {
					switch x.ID {
					case "a":
						r.put(r.write(x.Snapshot))
					case "b":
						r.release(c.Instance, x.Snapshot)
					}
				}
				c.Keys = []store.Key{d.Key} // nothing but what it has had
				r.wantClaimed("the second time", c, "c")
			},
		},
		{
			name: "AnotherClaimReturnsNothingOfTheFirst",
			rule: "a claim with another ID returns nothing that the instance has claimed before, nor does one without an ID",
			why:  "I2: the instance would drive it twice",
			run: func(r *rig) {
				for _, id := range []string{"a", "b"} {
					r.release(r.me, r.make(id))
				}
				other := r.instance("other")
				c := r.asking(other)
				c.Limit = 1
				first := r.claim(c)
				c = r.asking(other)
				second := r.claim(c)
				if len(first) != 1 || len(second) != 1 || first[0].ID == second[0].ID {
					r.Errorf("two claims returned %q and %q, want one each", ids(first), ids(second))
				}
				r.wantClaimed("the third time", r.asking(other))

				r.release(r.me, r.make("c"))
				c = r.asking(other)
				c.ID = 0
				list, err := r.raw.Claim(r.ctx, c)
				if err != nil || ids(list) != "c" {
					r.Errorf("a claim without an ID returned %q, %v, want c", ids(list), err)
				}
				if list, err := r.raw.Claim(r.ctx, c); err != nil || len(list) != 0 {
					r.Errorf("another claim without an ID returned %q, %v, want nothing", ids(list), err)
				}
			},
		},
		{
			name: "ClaimsOfOthersUnderOneIDAreApart",
			rule: "two instances may use the same ID for a claim",
			why:  "I2: each counts its own claims",
			run: func(r *rig) {
				x := r.make("x")
				r.release(r.me, x)
				one, two := r.instance("one"), r.instance(r.me.Node)
				c := r.asking(one)
				r.claimOne(c, x.Key)
				c.Instance = two
				r.wantClaimed("of the other", c)
			},
		},
	}
}

func repeatedClaimReturnsTheSame(r *rig) {
	lost := r.instance("lost")
	lapsed := r.make("lapsed", ownedBy(lost))
	r.lapse(lost)
	other := r.instance("other")
	c := r.asking(other)
	r.eventually("the lease lapses", func() (bool, string) {
		c.ID = r.id()
		list := r.claim(c)
		return ids(list) == "lapsed", ids(list)
	})
	for _, id := range []string{"a", "b", "d"} {
		r.release(r.me, r.make(id))
	}
	again := r.claim(c)
	i := slices.IndexFunc(again, func(x store.Claimed) bool { return x.ID == "lapsed" })
	if i < 0 || !again[i].Unclean || again[i].Epoch != 2 {
		r.Fatalf("the repetition returned %q, want among them what had lapsed, of an unclean owner, in epoch 2", ids(again))
	}
	r.same("what had lapsed", again[i].Snapshot, r.load(lapsed.Key))

	for _, id := range []string{"e", "f", "g"} {
		r.release(r.me, r.make(id))
	}
	c = r.asking(other)
	c.Limit = 2
	first := r.claim(c)
	if len(first) != 2 {
		r.Fatalf("a claim of two returned %q", ids(first))
	}
	for range 3 {
		second := r.claim(c)
		if ids(second) != ids(first) {
			r.Fatalf("a claim of two returned %q, and then %q", ids(first), ids(second))
		}
		for _, x := range second {
			r.same("what was claimed again", x.Snapshot, r.load(x.Key))
			if x.Epoch != 2 || x.Revision != 2 || x.Unclean {
				r.Errorf("%s has the epoch %d and revision %d, unclean: %t; want 2, 2, false", x.ID, x.Epoch, x.Revision, x.Unclean)
			}
		}
	}

	named := r.asking(r.me)
	x := r.make("mine")
	named.Keys = []store.Key{x.Key}
	for range 2 {
		if got := r.claimOne(named, x.Key); got.Epoch != 2 {
			r.Errorf("a repeated claim of its own execution has the epoch %d, want 2", got.Epoch)
		}
	}
}

// release gives executions up.
func (r *rig) release(i store.Instance, list ...*store.Snapshot) {
	r.Helper()
	var held []store.Held
	for _, x := range list {
		held = append(held, store.Held{Key: x.Key, Epoch: x.Epoch})
	}
	if err := r.s.Release(r.ctx, i, held); err != nil {
		r.Fatalf("Release by %s: %v", i, err)
	}
}

func (r *rig) end(i store.Instance) {
	r.Helper()
	if err := r.s.End(r.ctx, i); err != nil {
		r.Fatalf("End of %s: %v", i, err)
	}
}

// claimEventually claims until all of the executions are the instance's.
func (r *rig) claimEventually(c store.Claim, list ...*store.Snapshot) map[string]store.Claimed {
	r.Helper()
	got := map[string]store.Claimed{}
	r.eventually("all of them are claimed", func() (bool, string) {
		c.ID = r.id()
		claimed, err := r.s.Claim(r.ctx, c)
		if err != nil {
			if errors.Is(err, store.ErrInstance) {
				r.Fatalf("Claim of %s: %v", c.Instance, err)
			}
			return false, err.Error()
		}
		for _, x := range claimed {
			got[x.ID] = x
		}
		for _, x := range list {
			if _, ok := got[x.ID]; !ok {
				return false, x.ID + " is not"
			}
		}
		return true, ""
	})
	return got
}
