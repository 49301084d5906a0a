package storesqlite

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"runtime/pprof"
	"syscall"

	"github.com/google/uuid"
	"github.com/lockstep-dev/lockstep/store"
)

func TestTmpSleepers(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("N"))
	if n == 0 {
		t.Skip()
	}
	cfg := Config{}
	cfg.MostInGroup, _ = strconv.Atoi(os.Getenv("GROUP"))
	callers, _ := strconv.Atoi(os.Getenv("CALLERS"))
	if callers == 0 { callers = 512 }
	s, err := Open(filepath.Join("/tmp/scale-out", "tmp.db"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		s.Close(background)
		for _, x := range []string{"", "-wal", "-shm", ".lock"} { os.Remove("/tmp/scale-out/tmp.db"+x) }
	}()
	if os.Getenv("CKPT") != "" {
		s.do(background, func(w *writer) error { return nil })
	}
	s.Heartbeat(background, benchOwner, time.Hour)
	if p := os.Getenv("PROF"); p != "" {
		f, _ := os.Create(p)
		pprof.StartCPUProfile(f)
		defer pprof.StopCPUProfile()
	}
	var committing time.Duration
	s.do(background, func(w *writer) error {
		commit := w.commit
		w.commit = func() error { b := time.Now(); err := commit(); committing += time.Since(b); return err }
		return nil
	})
	now := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	cell := func(id store.CellID, size int) store.Cell { return store.Cell{ID: id, Data: make([]byte, size)} }
	random := os.Getenv("DUE") == "random"
	last := now
	var mu sync.Mutex
	for range callers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(rand.Uint64(), 2))
			for {
				i := next.Add(1)
				if i > int64(n) {
					return
				}
				if i%100000 == 0 {
					mu.Lock()
					fmt.Println(i, time.Since(last), committing, s.w.commits)
					last = time.Now()
					mu.Unlock()
				}
				due := now.Add(time.Hour + time.Duration(i)*time.Microsecond)
				if random {
					due = now.Add(time.Hour + time.Duration(r.Int64N(int64(24*time.Hour))))
				}
				id := uuid.Must(uuid.NewV7()).String()
				x := store.Snapshot{
					Identity: store.Identity{
						Key: store.Key{Workflow: "three", ID: id},
						RunUID: id, Fingerprint: "f0f1f2f3f4f5f6f7f8f9f0f1f2f3f4f5f6f7f8f9f0f1f2f3f4f5f6f7f8f9f0f1",
						Codec: "json", Input: []byte(`"2026-11-28T20:38:07.123456789Z"`), InputHash: make([]byte, 32), Generated: true, CreatedAt: time.Now(),
					},
					Fence: store.Fence{Epoch: 1, Revision: 1},
					Head:  store.Head{State: store.Invoking, Frames: 1, DueAt: due},
					Cells: []store.Cell{cell(0, 2), cell(1, 30)},
				}
				if _, err := s.Create(background, &x); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	d := time.Since(now)
	st, _ := os.Stat(s.path)
	var ru syscall.Rusage
	syscall.Getrusage(0, &ru)
	var io struct{ w int64 }
	b, _ := os.ReadFile("/proc/self/io")
	for _, l := range strings.Split(string(b), "\n") { fmt.Sscanf(l, "write_bytes: %d", &io.w) }
	t.Logf("CPU %.1f us each, %d bytes written each", float64(ru.Utime.Nano()+ru.Stime.Nano())/1000/float64(n), io.w/int64(n))
	t.Logf("%s: %s, %.0f/s, commits %d, in commit %s, file %d MiB", os.Getenv("DUE"), d, float64(n)/d.Seconds(), s.w.commits, committing, st.Size()>>20)
}
