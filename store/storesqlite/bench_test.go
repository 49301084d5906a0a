package storesqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// The benchmarks make the calls that an engine makes for a workflow of three steps, with
// records of the size that they have: a create, three checkpoints, and the deletion. The
// floor is five rows of that size, committed in groups on the same disk. The two take turns,
// so that what else the machine does slows both.
func BenchmarkThreeSteps(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprint(callers, "callers"), func(b *testing.B) {
			s, f := benchStore(b), newFloor(b)
			var n atomic.Int64
			var ours, floor time.Duration
			for left := b.N; left > 0; left -= turn {
				count := min(left, turn)
				ours += inParallel(callers, count, func() { threeSteps(b, s, n.Add(1)) })
				floor += inParallel(callers, count, func() {
					for range 5 {
						f.write()
					}
				})
			}
			b.ReportMetric(5*float64(b.N)/float64(s.w.commits), "calls/commit")
			b.ReportMetric(5*float64(b.N)/float64(f.commits), "rows/floor-commit")
			b.ReportMetric(float64(b.N)/ours.Seconds(), "executions/s")
			b.ReportMetric(float64(b.N)/floor.Seconds(), "floor/s")
			b.ReportMetric(floor.Seconds()/ours.Seconds(), "of-floor")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// turn is how many executions a turn has.
const turn = 500

func benchStore(b *testing.B) *Store {
	s, err := Open(filepath.Join(b.TempDir(), "executions.db"), Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(background); err != nil {
			b.Error(err)
		}
	})
	if err := s.Heartbeat(background, benchOwner, time.Hour); err != nil {
		b.Fatal(err)
	}
	return s
}

var benchOwner = store.Instance{Node: "node", Incarnation: "01a22349-822b-7412-93ef-39d459380bff"}

func inParallel(callers, count int, do func()) time.Duration {
	began := time.Now()
	var left atomic.Int64
	left.Store(int64(count))
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				do()
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

// threeSteps makes the calls of one execution.
func threeSteps(b *testing.B, s *Store, n int64) {
	cell := func(id store.CellID, size int) store.Cell { return store.Cell{ID: id, Data: make([]byte, size)} }
	x := store.Snapshot{
		Identity: store.Identity{
			Key:    store.Key{Workflow: "three", ID: fmt.Sprintf("01a22349-822b-7412-93ef-%012d", n)},
			RunUID: fmt.Sprintf("01a22349-822c-7412-93ef-%012d", n), Fingerprint: "f0f1f2f3f4f5f6f7f8f9f0f1f2f3f4f5f6f7f8f9f0f1f2f3f4f5f6f7f8f9f0f1",
			Codec: "json", Input: []byte("1"), InputHash: make([]byte, 32), Generated: true, CreatedAt: time.Now(),
		},
		Fence: store.Fence{Owner: benchOwner, Epoch: 1, Revision: 1},
		Head:  store.Head{State: store.Invoking, Frames: 1},
		Cells: []store.Cell{cell(0, 2), cell(1, 18)},
	}
	if existing, err := s.Create(background, &x); existing != nil || err != nil {
		b.Error(existing, err)
		return
	}
	for i := range store.CellID(3) {
		w := store.Write{Key: x.Key, Fence: x.Fence, ID: uint64(i) + 1, Head: x.Head, Cells: []store.Cell{cell(i+1, 24), cell(i+2, 18)}}
		if i == 2 {
			w.Head.State, w.Head.FinishedAt, w.Head.ForgetAt, w.Head.Output = store.Done, time.Now(), time.Now().Add(10*time.Minute), []byte("4")
			w.Cells, w.Release = []store.Cell{cell(0, 2), cell(3, 24)}, true
		}
		if err := s.Commit(background, []store.Write{w})[0]; err != nil {
			b.Error(err)
			return
		}
		x.Revision++
	}
	if err := s.Forget(background, x.Key, x.RunUID); err != nil {
		b.Error(err)
	}
}

// floor writes rows, those that come at once in one transaction.
type floor struct {
	c       *conn
	rows    chan chan error
	commits int
}

const floorRow = 120 // about the bytes of a checkpoint: a head and two cells

func newFloor(b *testing.B) *floor {
	c, err := connect(filepath.Join(b.TempDir(), "floor.db"), "", "page_size = "+strconv.Itoa(pageSize), "journal_mode = WAL", "synchronous = FULL",
		fmt.Sprint("wal_autocheckpoint = ", checkpoint), fmt.Sprint("cache_size = -", writerCache))
	if err == nil {
		err = c.script("CREATE TABLE raw (n INTEGER PRIMARY KEY, data BLOB)")
	}
	if err != nil {
		b.Fatal(err)
	}
	f := &floor{c: c, rows: make(chan chan error, 1024)}
	ctx, stop := context.WithCancel(background)
	var wg sync.WaitGroup
	wg.Go(func() { f.run(ctx) })
	b.Cleanup(func() {
		stop()
		wg.Wait()
		if err := c.close(); err != nil {
			b.Error(err)
		}
	})
	return f
}

func (f *floor) run(ctx context.Context) {
	add, err := f.c.raw.Prepare("INSERT INTO raw (data) VALUES (?)")
	if err != nil {
		panic(err)
	}
	defer add.Close()
	data := make([]byte, floorRow)
	for {
		var group []chan error
		select {
		case <-ctx.Done():
			return
		case r := <-f.rows:
			group = append(group, r)
		}
		for more := true; more; {
			select {
			case r := <-f.rows:
				group = append(group, r)
			default:
				more = false
			}
		}
		_, err := f.c.exec(begin)
		for range group {
			if err == nil {
				_, err = add.(driver.StmtExecContext).ExecContext(background, f.c.given([]any{data}))
			}
		}
		if err == nil {
			_, err = f.c.exec(commitTx)
			f.commits++
		}
		for _, r := range group {
			r <- err
		}
	}
}

func (f *floor) write() {
	answer := make(chan error, 1)
	f.rows <- answer
	if err := <-answer; err != nil {
		panic(err)
	}
}
