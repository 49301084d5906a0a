package storemem

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

var (
	reuser = store.Instance{Node: "n", Incarnation: "i"}
	ofPlan = store.PlanID{Workflow: "w", Fingerprint: "f"}
)

// snapshot is an execution of which everything says which one it is.
func snapshot(id string, owner store.Instance) *store.Snapshot {
	return &store.Snapshot{
		Identity: store.Identity{Key: store.Key{Workflow: ofPlan.Workflow, ID: id}, Fingerprint: ofPlan.Fingerprint, RunUID: id, Input: []byte(id)},
		Fence:    store.Fence{Owner: owner, Epoch: 1, Revision: 1}, Head: store.Head{State: store.Invoking, DueAt: time.Unix(1, 0)},
		Cells: []store.Cell{{ID: 1, Data: []byte(id)}},
	}
}

func created(t *testing.T, s *Store, id string, owner store.Instance) *entry {
	t.Helper()
	x := snapshot(id, owner)
	if existing, err := s.Create(t.Context(), x); existing != nil || err != nil {
		t.Fatal(existing, err)
	}
	return s.byKey[x.Key]
}

// through finishes an execution, and deletes it.
func through(t *testing.T, s *Store, e *entry, tasks ...store.Task) {
	t.Helper()
	key := e.Key
	if len(tasks) > 0 {
		w := store.Write{Key: key, Fence: e.fence(), ID: 1, Head: store.Head{State: store.Invoking}, Tasks: tasks}
		if err := s.Commit(t.Context(), []store.Write{w})[0]; err != nil {
			t.Fatal(err)
		}
	}
	w := store.Write{Key: key, Fence: e.fence(), ID: 2, Head: store.Head{State: store.Done, Output: []byte("out " + key.ID)}, Release: true}
	if err := s.Commit(t.Context(), []store.Write{w})[0]; err != nil {
		t.Fatal(err)
	}
	if err := s.Forget(t.Context(), key, e.RunUID); err != nil {
		t.Fatal(err)
	}
}

func TestTheMemoryOfADeletedExecutionIsUsedAgainUnlessAClaimOrATaskMayHaveIt(t *testing.T) {
	s := New()
	if err := s.Heartbeat(t.Context(), reuser, time.Hour); err != nil {
		t.Fatal(err)
	}
	plain := created(t, s, "plain", reuser)
	through(t, s, plain)
	if plain.Key != (store.Key{}) {
		t.Error("it is not used again")
	}
	working := created(t, s, "working", reuser)
	through(t, s, working, store.Task{ID: "t", Queue: "q"})
	if working.ID != "working" {
		t.Error("it is used again though it had a task")
	}
	claimed, other := created(t, s, "claimed", store.Instance{}), created(t, s, "other", store.Instance{})
	c := store.Claim{Instance: reuser, ID: 7, Plans: []store.PlanID{ofPlan}}
	if got, err := s.Claim(t.Context(), c); len(got) != 2 || err != nil {
		t.Fatal(got, err)
	}
	through(t, s, claimed)
	if claimed.ID != "claimed" {
		t.Error("it is used again though a claim that may be repeated has had it")
	}
	if got, err := s.Claim(t.Context(), c); len(got) != 1 || got[0].ID != other.ID || err != nil {
		t.Error(got, err)
	}
}

// Whoever reads executions while they go, and others come, sees each as it was.
func TestWhatWasReadOfAnExecutionStaysAsItWasWhenItsMemoryIsUsedAgain(t *testing.T) {
	s := New()
	if err := s.Heartbeat(t.Context(), reuser, time.Hour); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	look := func(x *store.Snapshot) {
		if string(x.Input) != x.ID || x.RunUID != x.ID || x.Output != nil && string(x.Output) != "out "+x.ID {
			t.Errorf("%s has the input %q and the output %q", x.ID, x.Input, x.Output)
		}
		for _, c := range x.Cells {
			if string(c.Data) != x.ID {
				t.Errorf("%s has the data %q", x.ID, c.Data)
			}
		}
	}
	for n := range 2 {
		readers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if x, err := s.Load(t.Context(), store.Key{Workflow: ofPlan.Workflow, ID: fmt.Sprint(n, " ", i%20)}); err == nil {
					look(x)
				}
				page, err := s.List(t.Context(), store.Query{})
				if err != nil {
					t.Error(err)
				}
				for i := range page.Executions {
					look(&page.Executions[i])
				}
			}
		})
	}
	var writers sync.WaitGroup
	for n := range 2 {
		writers.Go(func() {
			for i := range 2000 { // some are there at any time
				id, before := fmt.Sprint(n, " ", i%20), fmt.Sprint(n, " ", (i+10)%20)
				x := snapshot(id, reuser)
				if existing, err := s.Create(t.Context(), x); existing != nil || err != nil {
					t.Error(existing, err)
				}
				if i < 10 {
					continue
				}
				x = snapshot(before, reuser)
				w := store.Write{Key: x.Key, Fence: x.Fence, ID: 1, Head: store.Head{State: store.Done, Output: []byte("out " + before)}, Cells: x.Cells}
				if err := s.Commit(t.Context(), []store.Write{w})[0]; err != nil {
					t.Error(err)
				}
				if err := s.Forget(t.Context(), x.Key, x.RunUID); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	stop()
	readers.Wait()
}
