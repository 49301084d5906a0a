package storemem

import (
	"testing"

	"github.com/lockstep-dev/lockstep/store"
)

// The answers, and one copy of what was given, are all that a write costs, however many
// cells there are.
func TestAWriteNeedsNoMemoryButItsAnswersAndItsCopy(t *testing.T) {
	for _, cells := range []int{1, few, few + 1, 10_000} {
		s := started(t)
		x := fresh("x")
		for i := range cells {
			x.Cells = append(x.Cells, store.Cell{ID: store.CellID(i), Data: []byte("a record")})
		}
		create(t, s, x)
		writes := []store.Write{{
			Key: x.Key, Fence: store.Fence{Owner: me, Epoch: 1, Revision: 1}, Head: store.Head{State: store.Invoking, Output: []byte("an output")},
			Cells: []store.Cell{{ID: 0, Data: []byte("another")}, {ID: store.CellID(cells / 2), Data: []byte("one more")}},
		}}
		got := testing.AllocsPerRun(100, func() {
			if err := s.Commit(t.Context(), writes)[0]; err != nil {
				t.Fatal(err)
			}
			writes[0].Fence.Revision++
		})
		if got > 2 {
			t.Errorf("%v allocations with %d cells, want 2", got, cells)
		}
	}
}

// Executions that nobody asks for are no work for who asks for others.
func TestCallsNeedNoMemoryForWhatTheyDoNotReturn(t *testing.T) {
	for _, others := range []int{0, 5000} {
		s := started(t)
		createMany(t, s, others, func(i int, x *store.Snapshot) {
			if i%2 == 0 {
				x.Fingerprint, x.Owner, x.DueAt = "another", store.Instance{}, x.CreatedAt
			}
		})
		c := store.Claim{Instance: me, Plans: []store.PlanID{thePlan}}
		got := testing.AllocsPerRun(100, func() {
			if list, err := s.Claim(t.Context(), c); err != nil || len(list) != 0 {
				t.Fatal(list, err)
			}
			if keys, err := s.Unread(t.Context(), me); err != nil || len(keys) != 0 {
				t.Fatal(keys, err)
			}
			if err := s.Heartbeat(t.Context(), me, 1<<62); err != nil {
				t.Fatal(err)
			}
		})
		if got > 3 {
			t.Errorf("%v allocations with %d others, want 3", got, others)
		}
	}
}

func TestALargePieceHasMemoryOfItsOwn(t *testing.T) {
	small, large := []byte("small"), make([]byte, largePiece+1)
	var c copier
	for _, b := range [][]byte{small, large, small} {
		c.expect(b)
	}
	one, big, two := c.copy(small), c.copy(large), c.copy(small)
	if cap(c.room) != 2*len(small) || string(one)+string(two) != "smallsmall" || len(big) != len(large) {
		t.Errorf("%d bytes of room for %q and %q", cap(c.room), one, two)
	}
	if longer := append(one, '!'); string(two) != "small" { //nolint:gocritic // whose room is looked at
		t.Errorf("what is appended to one piece is in the next: %q, %q", longer, two)
	}
}

func TestManySmallPiecesAreInChunks(t *testing.T) {
	var c copier
	piece := make([]byte, 300)
	for range 100 {
		c.expect(piece)
	}
	for range 100 {
		c.copy(piece)
		if cap(c.room) > chunkSize {
			t.Fatalf("a chunk has %d bytes, want no more than %d", cap(c.room), chunkSize)
		}
	}
}
