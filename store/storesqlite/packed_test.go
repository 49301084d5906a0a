package storesqlite

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

func TestCellsAreThoseThatWereWrittenLastWhereverTheyStand(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 0))
		path := newPath(t)
		s := opened(t, path, Config{Sync: Relaxed})
		want := map[store.CellID][]byte{}
		some := func(most int) (list []store.Cell) {
			for range r.IntN(most) {
				c := store.Cell{ID: store.CellID(r.IntN(8))}
				if r.IntN(8) == 0 {
					c.ID += 1 << 63
				}
				if size := r.IntN(mostPacked/2) - 40; size >= 0 {
					c.Data = bytes.Repeat([]byte{byte(r.IntN(256))}, size)
				}
				if r.IntN(20) == 0 {
					c.Data = make([]byte, 2*mostPacked)
				}
				if want[c.ID] = c.Data; c.Data == nil {
					delete(want, c.ID)
				}
				list = append(list, c)
			}
			return list
		}
		x := fresh("x")
		x.Cells = some(6)
		if _, err := s.Create(t.Context(), x); err != nil {
			t.Fatal(err)
		}
		for n := range 60 {
			if n%10 == 9 { // what the writer knows is to be read again
				closed(t, s)
				s = reopened(t, path)
			}
			w := write(x, nil)
			w.Cells = some(4)
			if err := commitOne(s, w); err != nil {
				t.Fatal(err)
			}
			x.Revision++
			got := loadOne(t, s, x.Key).Cells
			var list []store.Cell
			for _, id := range slices.Sorted(maps.Keys(want)) {
				list = append(list, store.Cell{ID: id, Data: want[id]})
			}
			if !reflect.DeepEqual(list, got) {
				t.Fatalf("seed %d, write %d: there is\n%v, want\n%v", seed, n, got, list)
			}
		}
		closed(t, s)
	}
}

func TestCellsOfASmallExecutionAreInItsRowAndLargeOnesAreNot(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{})
	x := created(t, s, "x")
	inTable := func() (n int64) {
		within(t, s, func(w *writer) (err error) {
			n, err = w.conn.number("SELECT count(*) FROM cells")
			return err
		})
		return n
	}
	for range 10 {
		put(t, s, x)
	}
	if n := inTable(); n != 0 {
		t.Errorf("%d of ten small cells are in the table", n)
	}
	if err := commitOne(s, write(x, make([]byte, mostPacked))); err != nil {
		t.Fatal(err)
	}
	if n := inTable(); n != 1 {
		t.Errorf("%d cells are in the table, want the large one", n)
	}
}

func TestCellsOfTheFirstLayoutAreReadAndChanged(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	c, err := connect(path, "", fmt.Sprint("page_size = ", pageSize), fmt.Sprint("application_id = ", applicationID))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.migrate(migrations[:1], 0); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"INSERT INTO workflows VALUES (1, 'w')", "INSERT INTO plans VALUES (1, 1, 'f')",
		fmt.Sprintf(`INSERT INTO executions (seq, name, workflow, plan, run, codec, generated, created, epoch, revision, state, unsettled, frames, released, ready, takes, unclean)
			VALUES (1, 'x', 1, 1, 'run', 'json', 0, x'%x', 1, 3, 'invoking', 0, 1, 1, x'%[1]x', 0, 0)`, timeBytes(time.Now())),
		"INSERT INTO cells VALUES (1, 5, CAST('five' AS BLOB)), (1, 6, CAST('six' AS BLOB))",
	} {
		if err := c.script(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	s := opened(t, path, Config{})
	list, err := s.Claim(t.Context(), store.Claim{Instance: me, ID: 1, Plans: []store.PlanID{thePlan}})
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	x := list[0].Snapshot
	look := func(what string, want ...store.Cell) {
		t.Helper()
		if got := loadOne(t, s, x.Key).Cells; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: there is %v, want %v", what, got, want)
		}
	}
	look("opened", store.Cell{ID: 5, Data: []byte("five")}, store.Cell{ID: 6, Data: []byte("six")})
	w := write(x, nil)
	w.Cells = []store.Cell{{ID: 5}, {ID: 6, Data: []byte("new")}, {ID: 7, Data: []byte("seven")}}
	if err := commitOne(s, w); err != nil {
		t.Fatal(err)
	}
	look("written", store.Cell{ID: 6, Data: []byte("new")}, store.Cell{ID: 7, Data: []byte("seven")})
}

func TestPackedCellsThatWereDamagedAreToldOf(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"an unknown kind": "x'02'", "no length": "x'0005'", "an id without an end": "x'00ff'", "data that is cut off": "x'0005046161'",
		"a length beyond all": "x'0005ffffffffffffffffff01'",
	} {
		path := newPath(t)
		s := opened(t, path, Config{})
		x := created(t, s, "x")
		within(t, s, func(w *writer) error { return w.conn.script("UPDATE executions SET packed = " + value) })
		_, err := s.Load(t.Context(), x.Key)
		wantIs(t, name+", read", err, ErrDamaged)
		closed(t, s)
		s = reopened(t, path)
		wantIs(t, name+", written", commitOne(s, write(x, nil)), ErrDamaged)
		closed(t, s)
	}
}
