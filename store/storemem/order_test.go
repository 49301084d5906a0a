package storemem

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/lockstep-dev/lockstep/store"
)

func TestAQueueHasTheEarliestFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := queue{place: inExpiry}
		model := map[*entry]time.Time{}
		var all []*entry
		for range 30 {
			all = append(all, &entry{})
		}
		earliest := func() (at time.Time) {
			for _, other := range model {
				if at.IsZero() || other.Before(at) {
					at = other
				}
			}
			return at
		}
		for range rapid.IntRange(0, 100).Draw(t, "changes") {
			e := rapid.SampledFrom(all).Draw(t, "entry")
			before := earliest()
			var first bool
			if rapid.Bool().Draw(t, "set") {
				at := time.Unix(rapid.Int64Range(1, 20).Draw(t, "at"), 0)
				first = q.set(e, at)
				model[e] = at
			} else {
				first = q.remove(e)
				delete(model, e)
			}
			e, at := q.first()
			if !at.Equal(earliest()) || (e == nil) != (len(model) == 0) || len(q.items) != len(model) {
				t.Fatalf("the first is at %s, want %s; %d of %d", at, earliest(), len(q.items), len(model))
			}
			if !at.Equal(before) && !first {
				t.Fatalf("the first has changed from %s to %s, and nobody was told", before, at)
			}
			for i, item := range q.items {
				if item.e.places[inExpiry] != i+1 || !item.at.Equal(model[item.e]) {
					t.Fatalf("item %d is at place %d", i, item.e.places[inExpiry])
				}
			}
		}
		for _, e := range all {
			if at, ok := q.has(e); ok != !model[e].IsZero() || !at.Equal(model[e]) {
				t.Fatalf("it has %s, %t, want %s", at, ok, model[e])
			}
		}
	})
}

func TestCellsAreThoseThatWerePut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c cells
		model := map[store.CellID]string{}
		for i := range rapid.IntRange(0, 120).Draw(t, "puts") {
			id := store.CellID(rapid.Uint64Range(0, 2*few).Draw(t, "id"))
			if rapid.IntRange(0, 2).Draw(t, "delete") == 0 {
				c.put(store.Cell{ID: id})
				delete(model, id)
				continue
			}
			c.put(store.Cell{ID: id, Data: fmt.Append(nil, i)})
			model[id] = fmt.Sprint(i)
		}
		got := map[store.CellID]string{}
		for _, cell := range c.list {
			got[cell.ID] = string(cell.Data)
		}
		if !maps.Equal(got, model) || len(c.list) != len(model) {
			t.Fatalf("%v, want %v", got, model)
		}
	})
}

func TestTheTimelineIsInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var line timeline
		var model []*entry
		compare := func(a, b *entry) int {
			return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Workflow, b.Workflow), cmp.Compare(a.ID, b.ID))
		}
		spread := rapid.Int64Range(1, 2000).Draw(t, "spread")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		at := int64(0)
		for i := range rapid.IntRange(0, 6*mostInChunk).Draw(t, "changes") {
			if len(model) > 0 && i%5 == 4 {
				n := random.IntN(len(model))
				line.remove(model[n])
				model = slices.Delete(model, n, n+1)
				continue
			}
			at += random.Int64N(2*spread+4) - spread // most come later
			e := &entry{Identity: store.Identity{Key: store.Key{Workflow: "w", ID: fmt.Sprint(i)}, CreatedAt: time.Unix(0, at)}}
			line.insert(e)
			n, _ := slices.BinarySearchFunc(model, e, compare)
			model = slices.Insert(model, n, e)
		}
		want := slices.Clone(model)
		slices.Reverse(want)
		var from *moment
		if len(model) > 0 && rapid.Bool().Draw(t, "from a moment") {
			m := moment{at: model[random.IntN(len(model))].CreatedAt.Add(time.Duration(random.IntN(3) - 1))}
			from = &m
			want = slices.DeleteFunc(want, func(e *entry) bool { return e.moment().compare(m) >= 0 })
		}
		var got []*entry
		line.latest(from, func(e *entry) bool { got = append(got, e); return true })
		if !slices.Equal(got, want) {
			t.Fatalf("%d entries, want %d", len(got), len(want))
		}
		for _, c := range line.chunks {
			if len(c.entries) == 0 || len(c.entries) > mostInChunk {
				t.Fatalf("a chunk has %d entries", len(c.entries))
			}
		}
	})
}

// A look at many executions does not keep all other calls waiting until its end.
func TestAListOfFewOfManyIsMadeInSeveralLooks(t *testing.T) {
	s := started(t)
	createMany(t, s, 2*mostSeen+10, func(i int, x *store.Snapshot) {
		x.CreatedAt = time.Unix(int64(i), 0)
		if i == 3 || i == mostSeen || i == 2*mostSeen {
			x.State = store.Failed
		}
	})
	l := listing{q: store.Query{States: []store.ExecutionState{store.Failed}}, limit: 100}
	looks := 0
	for !l.ended {
		l.look(&s.timeline)
		looks++
	}
	if looks != 3 || len(l.page.Executions) != 3 {
		t.Errorf("%d looks, %d executions, want 3 and 3", looks, len(l.page.Executions))
	}
	page, err := s.List(t.Context(), store.Query{States: []store.ExecutionState{store.Failed}, Limit: 2})
	if err != nil || len(page.Executions) != 2 || page.Executions[1].ID != fmt.Sprint(mostSeen) || page.Next == "" {
		t.Errorf("%v, %v", page, err)
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("", int64(0), int64(0), "w", "x")
	f.Add("AAAA", int64(1)<<62, int64(999_999_999), "\xff", "")
	f.Fuzz(func(t *testing.T, text string, seconds, nanos int64, workflow, id string) {
		if _, err := New().List(t.Context(), store.Query{Cursor: text}); err != nil && !errors.Is(err, store.ErrCursor) {
			t.Errorf("%q: %v", text, err)
		}
		m := moment{time.Unix(seconds, nanos).UTC(), store.Key{Workflow: workflow, ID: id}}
		if got, ok := parseCursor(cursor(m)); !ok || got.compare(m) != 0 || got.key != m.key {
			t.Errorf("%v became %v, %t", m, got, ok)
		}
	})
}
