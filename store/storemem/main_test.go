package storemem

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	me      = store.Instance{Node: "node", Incarnation: "1"}
	thePlan = store.PlanID{Workflow: "w", Fingerprint: "f"}
)

// started returns a store in which me has a lease.
func started(t *testing.T) *Store {
	t.Helper()
	s := New()
	if err := s.Heartbeat(t.Context(), me, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(t.Context()) })
	return s
}

// fresh is an execution of me, to be created.
func fresh(id string) *store.Snapshot {
	return &store.Snapshot{
		Identity: store.Identity{
			Key: store.Key{Workflow: thePlan.Workflow, ID: id}, RunUID: "run of " + id, Fingerprint: thePlan.Fingerprint, CreatedAt: time.Now(),
		},
		Fence: store.Fence{Owner: me},
		Head:  store.Head{State: store.Invoking},
	}
}

func create(t *testing.T, s *Store, x *store.Snapshot) {
	t.Helper()
	if existing, err := s.Create(t.Context(), x); existing != nil || err != nil {
		t.Fatalf("%s: %v, %v", x.Key, existing, err)
	}
}

// createMany creates executions that are alike but for their ids.
func createMany(t *testing.T, s *Store, n int, change func(i int, x *store.Snapshot)) []*store.Snapshot {
	t.Helper()
	list := make([]*store.Snapshot, n)
	for i := range list {
		list[i] = fresh(fmt.Sprint(i))
		change(i, list[i])
		create(t, s, list[i])
	}
	return list
}

func claim(t *testing.T, s *Store, c store.Claim) []string {
	t.Helper()
	list, err := s.Claim(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, len(list))
	for i, x := range list {
		ids[i] = x.ID
	}
	return ids
}

func TestEachStoreHasAnIDOfItsOwn(t *testing.T) {
	a, b := New().Describe(), New().Describe()
	if a.ID == b.ID || a.ID == "" || a.Durable || a.Shared {
		t.Error(a, b)
	}
}

func TestLenIsHowManyAreKept(t *testing.T) {
	s := started(t)
	for i, x := range createMany(t, s, 5, func(_ int, x *store.Snapshot) { x.State = store.Done }) {
		if s.Len() != 5-i {
			t.Errorf("%d are kept, want %d", s.Len(), 5-i)
		}
		if err := s.Forget(t.Context(), x.Key, x.RunUID); err != nil {
			t.Fatal(err)
		}
	}
}
