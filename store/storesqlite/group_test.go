package storesqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// bounded has the file not grow by more than some pages.
func bounded(t *testing.T, s *Store, more int64) {
	t.Helper()
	within(t, s, func(w *writer) error {
		pages, err := w.conn.number("PRAGMA page_count")
		if err != nil {
			return err
		}
		return w.conn.script(fmt.Sprint("PRAGMA max_page_count = ", pages+more))
	})
}

func TestACallOfAGroupThatFailsHasNoOtherFailAndLeavesNothing(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{})
	var list []*store.Snapshot
	var writes []store.Write
	for i := range 5 {
		x := created(t, s, fmt.Sprint(i))
		data := []byte("small")
		if i == 2 {
			data = make([]byte, 4<<20)
		}
		w := write(x, data)
		w.Cells = append([]store.Cell{{ID: 100, Data: []byte("first")}}, w.Cells...)
		list, writes = append(list, x), append(writes, w)
	}
	bounded(t, s, 100)
	for i, err := range s.Commit(t.Context(), writes) {
		x := loadOne(t, s, list[i].Key)
		if i == 2 {
			wantIs(t, "the one that is too large", err, ErrFull)
			if errors.Is(err, ErrOutcomeUnknown) || x.Revision != 1 || len(x.Cells) != 0 {
				t.Errorf("after %v there are revision %d and %d cells, want 1 and none, for certain", err, x.Revision, len(x.Cells))
			}
		} else if err != nil || x.Revision != 2 || len(x.Cells) != 2 {
			t.Errorf("write %d: %v, revision %d, %d cells; want it made", i, err, x.Revision, len(x.Cells))
		}
	}
	put(t, s, list[2]) // its owner goes on
}

func TestWhatIsRefusedInAGroupHasTheOthersCommitted(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{})
	a, b := created(t, s, "a"), created(t, s, "b")
	stale := write(b, []byte("stale"))
	stale.Fence.Epoch = 7
	missing := write(fresh("missing"), []byte("x"))
	errs := s.Commit(t.Context(), []store.Write{stale, write(a, []byte("a")), missing, write(b, []byte("b"))})
	wantIs(t, "a stale one", errs[0], store.ErrFenced)
	wantIs(t, "one to nothing", errs[2], store.ErrNotFound)
	for i, x := range map[int]*store.Snapshot{1: a, 3: b} {
		if got := loadOne(t, s, x.Key); errs[i] != nil || got.Revision != 2 || string(got.Cells[0].Data) != x.ID {
			t.Errorf("%s: %v, revision %d, %q", x.ID, errs[i], got.Revision, got.Cells[0].Data)
		}
	}
}

// held has the next commit of the store wait. It returns when the writer is there, once
// something is asked of it; let lets it go on.
func held(t *testing.T, s *Store) (there <-chan struct{}, let func()) {
	t.Helper()
	arrived, gate := make(chan struct{}), make(chan struct{})
	let = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(let)
	within(t, s, func(w *writer) error {
		commit, first := w.commit, 0
		w.commit = func() error {
			if first++; first == 2 { // after that of this call
				close(arrived)
				<-gate
			}
			return commit()
		}
		return nil
	})
	return arrived, let
}

// untilQueued waits until so many calls wait for the writer.
func untilQueued(t *testing.T, s *Store, many int) {
	t.Helper()
	bounded := time.Now().Add(20 * time.Second)
	for s.queued() < many && time.Now().Before(bounded) {
		time.Sleep(time.Millisecond)
	}
	if n := s.queued(); n != many {
		t.Fatalf("%d calls are queued, want %d", n, many)
	}
}

func TestCallsThatComeTogetherAreCommittedTogether(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{})
	x := created(t, s, "x")
	there, let := held(t, s)
	var calls sync.WaitGroup
	calls.Go(func() {
		if err := commitOne(s, write(x, nil)); err != nil {
			t.Error(err)
		}
	})
	<-there
	const many = 50
	for i := range many {
		calls.Go(func() {
			if existing, err := s.Create(t.Context(), fresh(fmt.Sprint(i))); existing != nil || err != nil {
				t.Error(existing, err)
			}
		})
	}
	untilQueued(t, s, many)
	let()
	calls.Wait()
	within(t, s, func(w *writer) error {
		if w.lastGroup != many {
			t.Errorf("the last commit was of %d calls, want %d", w.lastGroup, many)
		}
		return nil
	})
}

func TestAQueuedCallEndsWithItsContextAndChangesNothing(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{})
	x, y := created(t, s, "x"), created(t, s, "y")
	there, let := held(t, s)
	var calls sync.WaitGroup
	calls.Go(func() {
		if err := commitOne(s, write(x, []byte("x"))); err != nil {
			t.Error(err)
		}
	})
	<-there
	ctx, cancel := context.WithCancel(t.Context())
	calls.Go(func() { // as soon as it is queued
		for s.queued() == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	})
	if err := s.Commit(ctx, []store.Write{write(y, []byte("y"))})[0]; !errors.Is(err, context.Canceled) {
		t.Errorf("a call that was queued: %v, want %v", err, context.Canceled)
	}
	let()
	calls.Wait()
	if got := loadOne(t, s, y.Key); got.Revision != 1 || len(got.Cells) != 0 {
		t.Errorf("it has made revision %d, %v", got.Revision, got.Cells)
	}
}

func TestReadersDoNotWaitForTheWriterNorSeeWhatIsNotCommitted(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{})
	x := created(t, s, "x")
	there, let := held(t, s)
	var calls sync.WaitGroup
	calls.Go(func() {
		if err := commitOne(s, write(x, []byte("x"))); err != nil {
			t.Error(err)
		}
	})
	<-there
	if got := loadOne(t, s, x.Key); got.Revision != 1 || len(got.Cells) != 0 {
		t.Errorf("before the commit there is revision %d with %v", got.Revision, got.Cells)
	}
	if page, err := s.List(t.Context(), store.Query{}); err != nil || len(page.Executions) != 1 {
		t.Error(page, err)
	}
	let()
	calls.Wait()
	if got := loadOne(t, s, x.Key); got.Revision != 2 {
		t.Errorf("after it there is revision %d, want 2", got.Revision)
	}
}

// faulty has the next commit fail, before or after it is made.
func faulty(t *testing.T, s *Store, after bool) {
	t.Helper()
	within(t, s, func(w *writer) error {
		commit, n := w.commit, 0
		w.commit = func() error {
			if n++; n != 2 { // not that of this call
				return commit()
			}
			if after {
				if err := commit(); err != nil {
					return err
				}
			}
			return &FileError{Path: s.path, Doing: "write to", Err: errDisk}
		}
		return nil
	})
}

var errDisk = errors.New("the disk has answered nothing")

func TestAfterACommitThatFailsTheOutcomeIsUnknownAndTheRevisionTellsIt(t *testing.T) {
	t.Parallel()
	for _, landed := range []bool{false, true} {
		s := opened(t, newPath(t), Config{})
		x, y := created(t, s, "x"), created(t, s, "y")
		faulty(t, s, landed)
		first, second := write(x, []byte("x")), write(y, []byte("y"))
		stale := write(y, nil)
		stale.Fence.Revision = 9
		want := uint64(1)
		if landed {
			want = 2
		}
		for i, err := range s.Commit(t.Context(), []store.Write{first, second, stale}) {
			wantIs(t, fmt.Sprint("member ", i, " of the group"), err, ErrOutcomeUnknown, errDisk)
		}
		for _, w := range []store.Write{first, second} {
			if got := loadOne(t, s, w.Key); got.Revision != want {
				t.Errorf("landed: %t, the revision is %d, want %d", landed, got.Revision, want)
			}
			if err := commitOne(s, w); err != nil {
				t.Errorf("landed: %t, again: %v", landed, err)
			}
			if got := loadOne(t, s, w.Key); got.Revision != 2 || string(got.Cells[0].Data) != w.Key.ID {
				t.Errorf("landed: %t, after the repetition: revision %d, %q", landed, got.Revision, got.Cells[0].Data)
			}
		}
		wantIs(t, "a stale one", commitOne(s, stale), store.ErrFenced)
	}
}

func TestCallsOfAllKindsMayBeRepeatedAfterAnOutcomeThatIsUnknown(t *testing.T) {
	t.Parallel()
	for _, landed := range []bool{false, true} {
		s := opened(t, newPath(t), Config{})
		x, gone := created(t, s, "x"), fresh("gone")
		gone.State = store.Done
		if _, err := s.Create(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		twice := func(what string, call func() error) {
			t.Helper()
			faulty(t, s, landed)
			wantIs(t, fmt.Sprintf("%s, landed: %t", what, landed), call(), ErrOutcomeUnknown)
			if err := call(); err != nil {
				t.Errorf("%s, landed: %t, again: %v", what, landed, err)
			}
		}
		withTask := fresh("with a task")
		withTask.Tasks = []store.Task{{ID: "t", Queue: "q"}}
		twice("create", func() error {
			existing, err := s.Create(background, withTask)
			if existing != nil {
				t.Errorf("landed: %t, there was one", landed)
			}
			return err
		})
		twice("release", func() error { return s.Release(background, me, []store.Held{{Key: x.Key, Epoch: 1}}) })
		var claimed []store.Claimed
		twice("claim", func() (err error) {
			claimed, err = s.Claim(background, store.Claim{Instance: me, ID: 7, Plans: []store.PlanID{thePlan}})
			return err
		})
		if len(claimed) != 1 || claimed[0].Epoch != 2 || claimed[0].Revision != 2 {
			t.Errorf("landed: %t, claimed %v; want one, in epoch 2", landed, claimed)
		}
		twice("deliver", func() error { return s.Deliver(background, x.Key, store.Message{ID: "m"}) })
		var taken []store.Taken
		twice("take", func() (err error) {
			taken, err = s.Take(background, store.Take{Instance: me, ID: 8, Queue: "q"})
			return err
		})
		if len(taken) != 1 || taken[0].Attempt != 1 {
			t.Fatalf("landed: %t, took %v; want one, as the first attempt", landed, taken)
		}
		twice("finish", func() error { return s.Finish(background, me, taken[0].Held(), store.Message{ID: "done"}) })
		twice("forget", func() error { return s.Forget(background, gone.Key, gone.RunUID) })
		for key, want := range map[store.Key]int{x.Key: 1, withTask.Key: 1} {
			if got := loadOne(t, s, key); len(got.Inbox) != want || len(got.Tasks) != 0 {
				t.Errorf("landed: %t, %s has %d messages and %d tasks, want %d and none", landed, key, len(got.Inbox), len(got.Tasks), want)
			}
		}
		twice("heartbeat", func() error { return s.Heartbeat(background, me, forLong) })
		twice("end", func() error { return s.End(background, me) })
		wantIs(t, "a heartbeat after the end", s.Heartbeat(background, me, forLong), store.ErrInstance)
	}
}

func TestWhoWatchesIsToldToLookAfterAnOutcomeThatIsUnknown(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{})
	x := created(t, s, "x")
	ctx, stop := context.WithCancel(t.Context())
	heard := make(chan store.Notice, 100)
	var watch sync.WaitGroup
	watch.Go(func() { _ = s.Watch(ctx, me, func(n store.Notice) { heard <- n }) })
	defer func() { stop(); watch.Wait() }()
	if n := <-heard; !n.Missed {
		t.Errorf("the first notice is %+v", n)
	}
	faulty(t, s, true)
	wantIs(t, "a delivery", s.Deliver(t.Context(), x.Key, store.Message{ID: "m"}), ErrOutcomeUnknown)
	for {
		select {
		case n := <-heard:
			if n.Missed {
				return
			}
		case <-time.After(20 * time.Second):
			t.Fatal("not told within 20 s")
		}
	}
}

func TestACallIsAnsweredHoweverManyCameTogetherBefore(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{Sync: Relaxed})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for round := range 60 {
		var calls sync.WaitGroup
		for i := range round % 17 {
			calls.Go(func() {
				for n := range 1 + i%3 {
					if _, err := s.Create(ctx, fresh(fmt.Sprint(round, " ", i, " ", n))); err != nil {
						t.Error(err)
					}
				}
			})
		}
		calls.Wait()
		if err := s.Release(ctx, me, nil); err != nil {
			t.Fatalf("round %d, a call alone: %v", round, err)
		}
	}
}
