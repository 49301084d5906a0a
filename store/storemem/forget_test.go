package storemem

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// What is deleted because it is due must not stop one call for all the others.
func TestDueExecutionsAreDeletedAFewPerCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := started(t)
		const many = 3*mostSwept + 10
		list := createMany(t, s, many, func(i int, x *store.Snapshot) {
			x.State, x.ForgetAt = store.Done, time.Now().Add(time.Hour+time.Duration(i))
		})
		time.Sleep(2 * time.Hour)
		if _, err := s.Load(t.Context(), list[many-1].Key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("one that is due is loaded: %v", err)
		}
		for n, want := range []int{many - 1 - mostSwept, many - 1 - 2*mostSwept, many - 1 - 3*mostSwept, 0} {
			if got := claim(t, s, store.Claim{Instance: me}); len(got) != 0 || s.Len() != want {
				t.Errorf("after %d calls %d are kept, want %d", n+1, s.Len(), want)
			}
		}
	})
}

func TestWhatIsDueIsNotListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := started(t)
		createMany(t, s, 2*mostSwept, func(_ int, x *store.Snapshot) { x.State, x.ForgetAt = store.Done, time.Now().Add(time.Hour) })
		time.Sleep(time.Hour)
		page, err := s.List(t.Context(), store.Query{})
		if err != nil || len(page.Executions) != 0 {
			t.Errorf("%d are listed, %v", len(page.Executions), err)
		}
	})
}

// Executions come and go by the million: nothing may be left of them, also of those
// that were to be forgotten later.
func TestNothingIsLeftOfWhatIsForgotten(t *testing.T) {
	s := started(t)
	for i := range 1000 {
		x := fresh(fmt.Sprint(i))
		x.DueAt = time.Now().Add(time.Hour)
		create(t, s, x)
		if err := s.Deliver(t.Context(), x.Key, store.Message{ID: "m"}); err != nil {
			t.Fatal(err)
		}
		fence := store.Fence{Owner: me, Epoch: 1, Revision: 1}
		if i%2 == 0 {
			_ = s.Release(t.Context(), me, []store.Held{{Key: x.Key, Epoch: 1}})
			claim(t, s, store.Claim{Instance: me, ID: uint64(i + 1), Plans: []store.PlanID{thePlan}, Keys: []store.Key{x.Key}})
			fence.Epoch, fence.Revision = 2, 2
		}
		w := store.Write{Key: x.Key, Fence: fence, Head: store.Head{State: store.Done, ForgetAt: time.Now().Add(time.Hour)}, Release: i%3 == 0}
		if err := s.Commit(t.Context(), []store.Write{w})[0]; err != nil {
			t.Fatal(err)
		}
		if i%5 == 0 && !w.Release { // it is claimed, for its message, and not written since
			claim(t, s, store.Claim{Instance: me, ID: uint64(i + 10_000), Plans: []store.PlanID{thePlan}, Keys: []store.Key{x.Key}})
		}
		if err := s.Forget(t.Context(), x.Key, x.RunUID); err != nil {
			t.Fatal(err)
		}
	}
	i := s.instances[me]
	if len(s.byKey)+len(s.expiry.items)+len(s.timeline.chunks)+len(s.plans[thePlan].others.items)+len(i.claims) > 0 || i.quiet.first != nil || i.unread.first != nil {
		t.Errorf("%d by key, %d to be forgotten, %d chunks, %d that may be claimed, %d claims, quiet %v, unread %v",
			len(s.byKey), len(s.expiry.items), len(s.timeline.chunks), len(s.plans[thePlan].others.items), len(i.claims), i.quiet.first, i.unread.first)
	}
}
