package storemem

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// Whatever they wait for, those that have waited for the longest time come first, over
// all plans.
func TestClaimReturnsTheLongestDueFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := started(t)
		start := time.Now()
		other := store.PlanID{Workflow: "other", Fingerprint: "f"}
		dying := store.Instance{Node: "dying", Incarnation: "1"}
		if err := s.Heartbeat(t.Context(), dying, 3*time.Second); err != nil {
			t.Fatal(err)
		}
		due := func(id string, after time.Duration, plan store.PlanID) {
			x := fresh(id)
			x.Owner, x.DueAt, x.Workflow = store.Instance{}, start.Add(after), plan.Workflow
			create(t, s, x)
		}
		due("due at 4", 4*time.Second, thePlan)
		due("due at 1", time.Second, other)
		due("due at 6", 6*time.Second, other)
		x := fresh("lapsed at 3, noticed at 5")
		x.Owner = dying
		create(t, s, x)
		create(t, s, fresh("released at 2"))
		time.Sleep(2 * time.Second)
		if err := s.Release(t.Context(), me, []store.Held{{Key: fresh("released at 2").Key, Epoch: 1}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if err := s.Heartbeat(t.Context(), me, time.Hour); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		c := store.Claim{Instance: me, Plans: []store.PlanID{thePlan, other}, Limit: 2}
		var got []string
		for range 3 {
			got = append(got, claim(t, s, c)...)
		}
		if want := []string{"due at 1", "released at 2", "due at 4", "lapsed at 3, noticed at 5", "due at 6"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// One that is told again and again does not move behind those that came after it.
func TestMessagesDoNotMoveWhatMayBeClaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := started(t)
		list := createMany(t, s, 3, func(_ int, x *store.Snapshot) { x.Owner = store.Instance{} })
		for _, x := range list {
			time.Sleep(time.Second)
			for _, id := range []string{"a", "b"} {
				if err := s.Deliver(t.Context(), x.Key, store.Message{ID: id}); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Deliver(t.Context(), list[0].Key, store.Message{ID: "for the first, beside " + x.ID}); err != nil {
				t.Fatal(err)
			}
		}
		if got := claim(t, s, store.Claim{Instance: me, Plans: []store.PlanID{thePlan}}); !slices.Equal(got, []string{"0", "1", "2"}) {
			t.Errorf("%q, want them in the order in which they were first told", got)
		}
	})
}

func TestARepeatedClaimIsKnownUntilAllOfItHasGoneOn(t *testing.T) {
	s := started(t)
	list := createMany(t, s, 4, func(_ int, x *store.Snapshot) { x.Owner, x.DueAt = store.Instance{}, time.Unix(1, 0) })
	claim(t, s, store.Claim{Instance: me, ID: 7, Plans: []store.PlanID{thePlan}})
	fence := store.Fence{Owner: me, Epoch: 2, Revision: 2}
	i := s.instances[me]
	for n, gone := range []func(key store.Key){
		func(key store.Key) {
			if err := s.Commit(t.Context(), []store.Write{{Key: key, Fence: fence}})[0]; err != nil {
				t.Fatal(err)
			}
		},
		func(key store.Key) { _ = s.Release(t.Context(), me, []store.Held{{Key: key, Epoch: 2}}) },
		func(key store.Key) {
			claim(t, s, store.Claim{Instance: me, ID: 8, Plans: []store.PlanID{thePlan}, Keys: []store.Key{key}})
		},
		func(key store.Key) {
			if err := s.Commit(t.Context(), []store.Write{{Key: key, Fence: fence, Head: store.Head{State: store.Done}}})[0]; err != nil {
				t.Fatal(err)
			}
		},
	} {
		if rec := i.claims[7]; rec == nil || rec.open != 4-n {
			t.Fatalf("before %d have gone on: %+v", n, rec)
		}
		gone(list[n].Key)
	}
	if _, ok := i.claims[7]; ok || len(i.claims) != 1 {
		t.Errorf("%+v is still known", i.claims)
	}
}
