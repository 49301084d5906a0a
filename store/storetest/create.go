package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

func createCases() []storeCase {
	return []storeCase{
		{
			name: "CreatedIsKeptAsItWas",
			rule: "an execution is loaded as it was created, in every field",
			why:  "I1: a later instance goes on from what is kept, and has nothing else",
			run: func(r *rig) {
				x := r.full("x")
				r.create(x)
				x.Epoch, x.Revision = 1, 1
				r.same("what is loaded", r.load(x.Key), x)
			},
		},
		{
			name: "CreatedHasTheFirstEpochAndRevision",
			rule: "a new execution has the epoch 1 and the revision 1, whatever it is given",
			why:  "I2: its creator writes under that fence, without having loaded it",
			run: func(r *rig) {
				x := r.make("x", func(x *store.Snapshot) { x.Epoch, x.Revision = 7, 9 })
				if want := (store.Fence{Owner: r.me, Epoch: 1, Revision: 1}); x.Fence != want {
					r.Errorf("the fence is %s, want %s", fenceText(x.Fence), fenceText(want))
				}
				r.put(r.write(x))
			},
		},
		{
			name: "TakenKeyReturnsWhatIsThere",
			rule: "a create of a key that is taken returns the execution that is there, as it is now, and changes nothing",
			why:  "I9: whoever asks for the key again gets that execution, and compares its input",
			run: func(r *rig) {
				first := r.make("x")
				w := r.write(first)
				w.Cells = []store.Cell{{ID: 3, Data: []byte("three")}}
				want := r.put(w)
				other := r.full("x")
				existing, err := r.s.Create(r.ctx, other)
				if err != nil {
					r.Fatal(err)
				}
				r.same("what Create returned", existing, want)
				r.same("what is loaded", r.load(first.Key), want)
			},
		},
		{
			name: "CreateIsRepeatedByItsRun",
			rule: "a create with the RunUID of the execution that is there is answered as if there had been none, and changes nothing",
			why:  "I2: its answer was lost, and the creator would take its own execution for another's",
			run: func(r *rig) {
				given := r.fresh("x")
				r.create(given)
				r.create(given)
				want := r.put(r.write(r.load(given.Key)))
				r.create(given)
				r.same("what is loaded after a write and a repetition", r.load(given.Key), want)
				want = r.letGo(want, r.now().Add(-time.Second))
				want = r.claimOne(r.asking(r.instance("other")), want.Key).Snapshot
				r.create(given)
				r.same("what is loaded after a claim and a repetition", r.load(given.Key), want)
			},
		},
		{
			name: "OneOfManyCreatorsWins",
			rule: "of many who create one key at once one succeeds, and the others are given its execution",
			why:  "I9: two executions under one key would do the work twice",
			run:  oneOfManyCreatorsWins,
		},
		{
			name: "AnyBytesMakeAKey",
			rule: "workflow and id may hold any bytes, and two keys that differ at all are two",
			why:  "I9: keys that run together are one execution where two were asked for",
			run:  anyBytesMakeAKey,
		},
		{
			name: "CreatorHasALease",
			rule: "a create whose owner never had a lease, or whose lease has lapsed or was ended, is refused and adds nothing",
			why:  "I1: one that has stood still begins a child once more that others have been through with, and have forgotten",
			run: func(r *rig) {
				lost, ended := r.instance("lost"), r.instance("ended")
				r.end(ended)
				r.lapse(lost)
				for what, i := range map[string]store.Instance{"that never had a lease": r.unleased("new"), "whose lease has lapsed": lost, "that was ended": ended} {
					x := r.fresh("x")
					x.Owner = i
					if existing, err := r.s.Create(r.ctx, x); existing != nil || !errors.Is(err, store.ErrInstance) {
						r.Errorf("Create by one %s: %v, %v; want ErrInstance", what, existing, err)
					}
					if _, err := r.s.Load(r.ctx, x.Key); !errors.Is(err, store.ErrNotFound) {
						r.Errorf("after a create by one %s was refused: %v, want ErrNotFound", what, err)
					}
				}
				r.make("x") // by one that has a lease
			},
		},
		{
			name: "WhatIsThereIsAnsweredWithoutALease",
			rule: "of an execution that is there a create tells, be it repeated or another's, also when its owner has no lease",
			why:  "I2: its answer was lost, and it is what it was; I9: whoever asks for the key gets that execution",
			run: func(r *rig) {
				lost := r.instance("lost")
				given := r.fresh("x")
				given.Owner = lost
				r.create(given)
				want := r.load(given.Key)
				r.lapse(lost)
				r.create(given)
				other := r.fresh("x")
				other.Owner = lost
				existing, err := r.s.Create(r.ctx, other)
				if err != nil {
					r.Fatal(err)
				}
				r.same("what Create returned", existing, want)
				r.same("what is loaded", r.load(given.Key), want)
			},
		},
		{
			name: "CreatedByNobodyWaitsUntilItIsDue",
			rule: "an execution may be created without an owner, and is claimed when it is due",
			why:  "I8: who plans an execution for later need not live until then",
			run: func(r *rig) {
				r.make("now", ownedByNobody, dueAt(r.now().Add(-time.Minute)))
				r.make("later", ownedByNobody, dueAt(r.now().Add(time.Hour)))
				r.wantClaimed("of one that is due and one that is not", r.asking(r.me), "now")
			},
		},
	}
}

// full is an execution with something in every field, to be created.
func (r *rig) full(id string) *store.Snapshot {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC)
	x := r.fresh(id)
	x.Fingerprint, x.Codec, x.Input, x.InputHash = "another fingerprint", "another codec", []byte("more input"), []byte("\x00\xffhash")
	x.Generated, x.CreatedAt, x.Deadline = true, at, at.Add(time.Hour)
	x.Parent = &store.Parent{Key: store.Key{Workflow: "w\xff", ID: "{p}"}, RunUID: "r", Place: store.Place{Frame: 1 << 31, Node: 5}}
	x.Head = store.Head{
		State: store.Compensating, DueAt: at.Add(1), Unsettled: true, Holding: true, CancelledAt: at.Add(2), FinishedAt: at.Add(3), ForgetAt: at.Add(4),
		Output: []byte("output"), Frames: 1<<32 - 1,
	}
	x.Cells = []store.Cell{{ID: 0, Data: []byte("first")}, {ID: 7, Data: []byte("\x00\xff")}, {ID: 1<<64 - 1, Data: []byte("last")}}
	x.Inbox = []store.Message{{ID: "b", Data: []byte("1")}, {ID: "a", Data: []byte("2")}}
	return x
}

func oneOfManyCreatorsWins(r *rig) {
	const creators = 16
	handles := r.handles(creators)
	for round := range 10 {
		key := store.Key{Workflow: thePlan.Workflow, ID: fmt.Sprintf("x-%d", round)}
		given := make([]*store.Snapshot, creators)
		existing, errs := make([]*store.Snapshot, creators), make([]error, creators)
		var wg sync.WaitGroup
		for i := range creators {
			given[i] = r.fresh(key.ID)
			wg.Go(func() { existing[i], errs[i] = handles[i].Create(r.ctx, given[i]) })
		}
		wg.Wait()
		stands := r.load(key)
		winners := 0
		for i := range creators {
			switch {
			case errs[i] != nil:
				r.Errorf("creator %d: %v", i, errs[i])
			case existing[i] == nil:
				winners++
				if stands.RunUID != given[i].RunUID {
					r.Errorf("creator %d won, but the run is %q, not its %q", i, stands.RunUID, given[i].RunUID)
				}
			default:
				r.same("what a creator was given", existing[i], stands)
			}
		}
		if winners != 1 {
			r.Errorf("%d of %d creators won, want one", winners, creators)
		}
	}
}

// oddNames returns names that a careless store takes for something else, or for each
// other.
func oddNames() []string {
	return []string{
		"", "a", "A", "a ", " a", "a\n", "a\x00", "a\x00b", "\x00", "\t", "\xff", "\xff\xfe", "\xc3\x28", "a\xed\xa0\x80", "\ufffd",
		"ä", "a\u0308", "日本", "{a}", "{a}b", "{", "}", "{}", "{}{a}", ":", "a:", ":a", "a:b", "a::b", "a/b", "/", "a|b",
		"'", `"`, `"a"`, `\`, `\x00`, "%00", "%s", "$1", "*", "a*", "?", "[a]", "0", "-1", "1e3", "null", "true", "_", "a_", "%",
	}
}

func anyBytesMakeAKey(r *rig) {
	var keys []store.Key
	for _, name := range oddNames() {
		keys = append(keys, store.Key{Workflow: "a", ID: name})
		if name != "a" {
			keys = append(keys, store.Key{Workflow: name, ID: "a"})
		}
	}
	keys = append(keys, store.Key{Workflow: "a:a", ID: "b"}, store.Key{Workflow: "a", ID: "a:b"}, store.Key{Workflow: "ab", ID: "c"}, store.Key{Workflow: "a", ID: "bc"})
	seen := map[store.Key]bool{}
	var made []*store.Snapshot
	for _, key := range keys {
		if seen[key] {
			continue
		}
		seen[key] = true
		x := r.fresh("")
		x.Key, x.Fingerprint = key, "f"+key.Workflow
		r.create(x)
		made = append(made, x)
	}
	for _, x := range made {
		r.deliver(x.Key, "m"+x.Workflow+x.ID)
	}
	for _, x := range made {
		got := r.load(x.Key)
		if got.Key != x.Key || got.RunUID != x.RunUID || len(got.Inbox) != 1 {
			r.Errorf("%s: loaded %s", x.Key, text(got))
		}
		c := r.asking(r.me)
		c.Plans, c.Keys = []store.PlanID{{Workflow: x.Workflow, Fingerprint: x.Fingerprint}}, []store.Key{x.Key}
		if got := r.claimOne(c, x.Key); got.RunUID != x.RunUID {
			r.Errorf("%s: claimed %s", x.Key, text(got.Snapshot))
		}
	}
}
