package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

func wholeCases() []storeCase {
	return []storeCase{
		{
			name: "ReadersSeeWholeWrites",
			rule: "whoever loads, claims or reads an inbox while an execution is written to sees all of a write, or nothing of it",
			why:  "I3: an instance that goes on from half a checkpoint does what was done",
			run:  readersSeeWholeWrites,
		},
		{
			name: "CallsThatEndAreWhole",
			rule: "a write whose context ends while it is made is made as a whole, or not at all, and its repetition makes it once",
			why:  "I3: a timeout is no half checkpoint",
			run:  callsThatEndAreWhole,
		},
	}
}

const versionedCells = 20

// version is a write of which every part has the same number.
func (r *rig) version(x *store.Snapshot, n uint64) store.Write {
	w := r.write(x)
	w.Head.Output, w.Head.Frames = fmt.Append(nil, n), uint32(n)
	for i := range versionedCells {
		w.Cells = append(w.Cells, store.Cell{ID: store.CellID(i), Data: fmt.Append(nil, n)})
	}
	w.Cells = append(w.Cells, store.Cell{ID: store.CellID(1000 + n), Data: []byte{}}, store.Cell{ID: store.CellID(1000 + n - 1)})
	w.Consumed = []string{fmt.Sprint(n)}
	return w
}

// parts returns an error when what is seen of an execution is of different versions.
func parts(x *store.Snapshot) error {
	n := uint64(x.Frames)
	if n == 0 { // not written yet
		if x.Output != nil || len(x.Cells) > 0 {
			return fmt.Errorf("before the first version there is the output %q and %d cells", x.Output, len(x.Cells))
		}
		return nil
	}
	if string(x.Output) != fmt.Sprint(n) || len(x.Cells) != versionedCells+1 {
		return fmt.Errorf("version %d has the output %q and %d cells: %s", n, x.Output, len(x.Cells), text(x))
	}
	for i, c := range x.Cells[:versionedCells] {
		if string(c.Data) != fmt.Sprint(n) {
			return fmt.Errorf("version %d has %q in cell %d", n, c.Data, i)
		}
	}
	if last := x.Cells[versionedCells]; last.ID != store.CellID(1000+n) {
		return fmt.Errorf("version %d has the cell %d", n, last.ID)
	}
	for _, m := range x.Inbox {
		if len(m.ID) < len(fmt.Sprint(n)) || (len(m.ID) == len(fmt.Sprint(n)) && m.ID <= fmt.Sprint(n)) {
			return fmt.Errorf("version %d has not consumed message %q", n, m.ID)
		}
	}
	return nil
}

func readersSeeWholeWrites(r *rig) {
	const versions, readers = 100, 4
	x := r.make("x", func(x *store.Snapshot) {
		x.Cells, x.Frames = nil, 0
		for n := range versions {
			x.Inbox = append(x.Inbox, store.Message{ID: fmt.Sprint(n + 1)})
		}
	})
	key := x.Key
	ctx, stop := context.WithCancel(r.ctx)
	read := make(chan struct{}, 1) // somebody has read something
	handles := r.handles(readers)
	var wg sync.WaitGroup
	for _, s := range handles {
		wg.Go(func() {
			for last := uint32(0); ctx.Err() == nil; {
				got, err := s.Load(r.ctx, key)
				if err == nil {
					err = parts(got)
				}
				if err == nil && got.Frames < last {
					err = fmt.Errorf("version %d comes after %d", got.Frames, last)
				}
				if err != nil {
					r.Errorf("a reader: %v", err)
					stop()
					return
				}
				last = got.Frames
				select {
				case read <- struct{}{}:
				default:
				}
			}
		})
	}
	for n := uint64(1); n <= versions && ctx.Err() == nil; n++ {
		if n%10 == 1 { // some versions come between two looks
			select {
			case <-read:
			case <-ctx.Done():
			}
		}
		w := r.version(x, n)
		w.Release = n%10 == 0
		w.Head.DueAt = x.CreatedAt
		if err := r.commit(w); err != nil {
			r.Errorf("version %d: %v", n, err)
			break
		}
		x.Head, x.Revision = w.Head, x.Revision+1
		if w.Release {
			got := r.claimOne(r.asking(r.me), x.Key)
			if err := parts(got.Snapshot); err != nil {
				r.Errorf("a claim: %v", err)
			}
			x = got.Snapshot
		}
	}
	stop()
	wg.Wait()
}

func callsThatEndAreWhole(r *rig) {
	const versions = 60
	x := r.make("x", func(x *store.Snapshot) {
		x.Cells, x.Frames = nil, 0
		for n := range versions {
			x.Inbox = append(x.Inbox, store.Message{ID: fmt.Sprint(n + 1)})
		}
	})
	for n := uint64(1); n <= versions; n++ {
		w := r.version(x, n)
		ctx, cancel := context.WithCancel(r.ctx)
		timer := time.AfterFunc(time.Duration(rand.IntN(500))*time.Microsecond, cancel)
		if n%10 == 0 {
			cancel()
		}
		err := r.s.Commit(ctx, []store.Write{w})[0]
		timer.Stop()
		cancel()
		if errors.Is(err, store.ErrFenced) || errors.Is(err, store.ErrNotFound) {
			r.Fatalf("version %d: %v", n, err)
		}
		now := r.load(x.Key)
		if perr := parts(now); perr != nil {
			r.Fatalf("after an answer %v: %v", err, perr)
		}
		if now.Revision != x.Revision+1 && (err == nil || now.Revision != x.Revision) {
			r.Fatalf("after an answer %v, revision %d has become %d", err, x.Revision, now.Revision)
		}
		x = r.put(w)
		if x.Revision != n+1 {
			r.Fatalf("after %d writes and their repetitions the revision is %d", n, x.Revision)
		}
	}
}
