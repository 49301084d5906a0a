package storemem_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var key = store.Key{Workflow: "w", ID: "x"}

// full has something in every field that holds memory.
func full() *store.Execution {
	return &store.Execution{
		Key: key, RunUID: "run-1", Input: []byte("in"), InputHash: []byte("hash"),
		Fence: store.Fence{Owner: "me", Epoch: 1, Revision: 1},
		Head: store.Head{
			State: store.Invoking, Output: []byte("out"),
			Holds: []store.Hold{{Key: "k"}}, Leaving: []store.Hold{{Key: "l"}},
		},
		Nodes:    []store.Node{{Output: []byte("o"), Undo: []byte("u")}},
		Failures: []store.Failure{{Message: "m", Chain: []store.ErrorRecord{{Message: "c"}}}},
	}
}

// scribble writes over all memory that an execution holds.
func scribble(x *store.Execution) {
	x.Input[0], x.InputHash[0], x.Output[0] = '!', '!', '!'
	x.Holds[0].Key, x.Leaving[0].Key = "!", "!"
	x.Nodes[0].Output[0], x.Nodes[0].Undo[0], x.Nodes[0].Attempts = '!', '!', 99
	x.Failures[0].Chain[0].Message, x.Failures[0].Message = "!", "!"
}

func created(t *testing.T) *storemem.Store {
	t.Helper()
	s := storemem.New()
	if existing, err := s.Create(t.Context(), full()); existing != nil || err != nil {
		t.Fatal(existing, err)
	}
	return s
}

func load(t *testing.T, s *storemem.Store) *store.Execution {
	t.Helper()
	x, err := s.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func write(id uint64, revision uint64, state store.ExecutionState) store.Write {
	return store.Write{
		Key: key, ID: id, Fence: store.Fence{Owner: "me", Epoch: 1, Revision: revision},
		Change: store.Change{
			Head:     store.Head{State: state, Output: []byte("new"), Holds: []store.Hold{{Key: "n"}}, Leaving: []store.Hold{{Key: "n"}}},
			Nodes:    []store.NodeChange{{Index: 0, Node: store.Node{Attempts: 7, Output: []byte("new"), Undo: []byte("new")}}},
			Failures: []store.Failure{{Message: "new", Chain: []store.ErrorRecord{{Message: "new"}}}},
		},
	}
}

func TestCreatedExecutionIsLoadedAsItWas(t *testing.T) {
	if got := load(t, created(t)); !reflect.DeepEqual(got, full()) {
		t.Errorf("%+v", got)
	}
}

func TestCreateOfAnExistingKeyReturnsThatOneAndChangesNothing(t *testing.T) {
	s := created(t)
	other := full()
	other.RunUID, other.Input = "run-2", []byte("other")
	existing, err := s.Create(t.Context(), other)
	if err != nil || !reflect.DeepEqual(existing, full()) || !reflect.DeepEqual(load(t, s), full()) {
		t.Errorf("%+v, %v", existing, err)
	}
}

func TestCreateSetsEpochAndRevisionToOne(t *testing.T) {
	s, x := storemem.New(), full()
	x.Epoch, x.Revision = 7, 9
	if _, err := s.Create(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	if got := load(t, s); got.Epoch != 1 || got.Revision != 1 {
		t.Errorf("%+v", got.Fence)
	}
}

func TestKeysDoNotRunTogether(t *testing.T) {
	s := storemem.New()
	for i, k := range []store.Key{{Workflow: "a", ID: "b/c"}, {Workflow: "a/b", ID: "c"}, {Workflow: "", ID: "a/b/c"}} {
		x := full()
		x.Key = k
		if existing, err := s.Create(t.Context(), x); existing != nil || err != nil || s.Len() != i+1 {
			t.Errorf("%s: %v, %v", k, existing, err)
		}
	}
}

func TestI2CommitMakesTheChangeAndRaisesTheRevision(t *testing.T) {
	s := created(t)
	if err := s.Commit(t.Context(), write(1, 1, store.Compensating)); err != nil {
		t.Fatal(err)
	}
	x := load(t, s)
	if x.Revision != 2 || x.State != store.Compensating || x.Nodes[0].Attempts != 7 || len(x.Failures) != 2 || string(x.Input) != "in" {
		t.Errorf("%+v", x)
	}
}

func TestI2StaleWriteIsFencedAndChangesNothing(t *testing.T) {
	for what, change := range map[string]func(w *store.Write){
		"owner":          func(w *store.Write) { w.Fence.Owner = "other" },
		"older epoch":    func(w *store.Write) { w.Fence.Epoch = 0 },
		"newer epoch":    func(w *store.Write) { w.Fence.Epoch = 2 },
		"older revision": func(w *store.Write) { w.Fence.Revision = 1 },
		"newer revision": func(w *store.Write) { w.Fence.Revision = 4 },
		"same id, other owner": func(w *store.Write) {
			w.Fence.Owner, w.Fence.Revision, w.ID = "other", 2, 2
		},
		"same id, two revisions back": func(w *store.Write) { w.Fence.Revision, w.ID = 1, 1 },
	} {
		s := created(t)
		for i := range uint64(2) {
			if err := s.Commit(t.Context(), write(i+1, i+1, store.Invoking)); err != nil {
				t.Fatal(err)
			}
		}
		before := load(t, s)
		w := write(3, 3, store.Failed)
		change(&w)
		err := s.Commit(t.Context(), w)
		fenced, ok := errors.AsType[*store.FencedError](err)
		if !ok || !errors.Is(err, store.ErrFenced) || fenced.Found != before.Fence || fenced.Wrote != w.Fence {
			t.Errorf("%s: %v", what, err)
		}
		if !reflect.DeepEqual(load(t, s), before) {
			t.Errorf("%s: the refused write changed something", what)
		}
	}
}

func TestI2SameWriteSentTwiceIsAnsweredAsDoneAndChangesNothing(t *testing.T) {
	s := created(t)
	for range 3 {
		if err := s.Commit(t.Context(), write(5, 1, store.Compensating)); err != nil {
			t.Fatal(err)
		}
	}
	if x := load(t, s); x.Revision != 2 || len(x.Failures) != 2 {
		t.Errorf("revision %d, %d failures", x.Revision, len(x.Failures))
	}
}

func TestI2AnotherWriteAtThatRevisionIsFenced(t *testing.T) {
	s := created(t)
	if err := s.Commit(t.Context(), write(5, 1, store.Compensating)); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), write(6, 1, store.Failed)); !errors.Is(err, store.ErrFenced) {
		t.Error(err)
	}
}

func TestWhatIsGivenSharesNoMemoryWithWhatIsKept(t *testing.T) {
	s, x := storemem.New(), full()
	if _, err := s.Create(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	scribble(x)
	if !reflect.DeepEqual(load(t, s), full()) {
		t.Error("Create kept the caller's memory")
	}
	w := write(1, 1, store.Invoking)
	if err := s.Commit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	before := load(t, s)
	w.Change.Head.Output[0], w.Change.Head.Holds[0].Key, w.Change.Head.Leaving[0].Key = '!', "!", "!"
	w.Change.Nodes[0].Node.Output[0], w.Change.Nodes[0].Node.Undo[0] = '!', '!'
	w.Change.Failures[0].Chain[0].Message = "!"
	if !reflect.DeepEqual(load(t, s), before) {
		t.Error("Commit kept the caller's memory")
	}
}

func TestWhatIsReturnedSharesNoMemoryWithWhatIsKept(t *testing.T) {
	s := created(t)
	scribble(load(t, s))
	existing, err := s.Create(t.Context(), full())
	if err != nil {
		t.Fatal(err)
	}
	scribble(existing)
	if !reflect.DeepEqual(load(t, s), full()) {
		t.Error("what was returned is what is kept")
	}
}

func TestForgetDeletesOnlyWhatHasFinished(t *testing.T) {
	for state, gone := range map[store.ExecutionState]bool{
		store.NotStarted: false, store.Invoking: false, store.WaitingToCompensate: false, store.Compensating: false,
		store.Done: true, store.Reverted: true, store.Failed: true,
	} {
		s := created(t)
		if err := s.Commit(t.Context(), write(1, 1, state)); err != nil {
			t.Fatal(err)
		}
		if err := s.Forget(t.Context(), key); err != nil {
			t.Error(err)
		}
		if _, err := s.Load(t.Context(), key); errors.Is(err, store.ErrNotFound) != gone {
			t.Errorf("%s: %v", state, err)
		}
	}
}

func TestForgetOfWhatIsNotThereDoesNothing(t *testing.T) {
	if err := storemem.New().Forget(t.Context(), key); err != nil {
		t.Error(err)
	}
}

func TestWhatIsDueIsForgottenAtTheNextCreate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := created(t)
		w := write(1, 1, store.Done)
		w.Change.Head.ForgetAt = time.Now().Add(time.Hour)
		if err := s.Commit(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour - time.Nanosecond)
		if existing, _ := s.Create(t.Context(), full()); existing == nil {
			t.Error("forgotten too soon")
		}
		time.Sleep(time.Nanosecond)
		again := full()
		again.RunUID = "run-2"
		if existing, err := s.Create(t.Context(), again); existing != nil || err != nil {
			t.Error("kept too long", err)
		}
		time.Sleep(time.Hour)
		other := full()
		other.ID = "y"
		if _, err := s.Create(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		if load(t, s).RunUID != "run-2" {
			t.Error("a later run of the key was forgotten")
		}
	})
}

func TestFinishedWithoutForgetAtIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := created(t)
		if err := s.Commit(t.Context(), write(1, 1, store.Failed)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100_000 * time.Hour)
		if existing, _ := s.Create(t.Context(), full()); existing == nil {
			t.Error("forgotten")
		}
	})
}

func TestEndedContextChangesNothing(t *testing.T) {
	s := created(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x := full()
	x.ID = "y"
	_, err := s.Create(ctx, x)
	_, err2 := s.Load(ctx, key)
	for _, err := range []error{err, err2, s.Commit(ctx, write(1, 1, store.Done)), s.Forget(ctx, key)} {
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if s.Len() != 1 || load(t, s).Revision != 1 {
		t.Error("something changed")
	}
}

func TestClosedStoreSaysSo(t *testing.T) {
	s := created(t)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := s.Create(t.Context(), full())
	_, err2 := s.Load(t.Context(), key)
	for _, err := range []error{err, err2, s.Commit(t.Context(), write(1, 1, store.Done))} {
		if !errors.Is(err, store.ErrClosed) {
			t.Error(err)
		}
	}
}

func TestMissingExecutionIsNotFound(t *testing.T) {
	s := storemem.New()
	if err := s.Commit(t.Context(), write(1, 1, store.Done)); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if _, err := s.Load(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

func TestEachStoreHasAnIDOfItsOwn(t *testing.T) {
	a, b := storemem.New().Describe(), storemem.New().Describe()
	if a.ID == b.ID || a.ID == "" || a.Durable || a.Shared {
		t.Error(a, b)
	}
}
