package lockredis

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestAPipeAnswersEveryShareWhoeverGivesUp(t *testing.T) {
	t.Parallel()
	var sent, together, most atomic.Int64
	p := newPipe(func(_ context.Context, batch []*share) {
		if n := together.Add(1); n > most.Load() {
			most.Store(n)
		}
		for _, s := range batch {
			sent.Add(1)
			s.answers = []any{s.args[0]}
		}
		together.Add(-1)
	}, 10)
	var answered, gaveUp atomic.Int64
	var callers sync.WaitGroup
	for i := range 64 {
		callers.Go(func() {
			for n := range 500 {
				ctx, cancel := context.WithCancel(context.Background())
				if (n+i)%7 == 0 {
					go cancel()
				}
				s := &share{args: []any{"mine"}, count: 1}
				err := p.process(ctx, s)
				if flying, ok := errors.AsType[*inFlightError](err); ok {
					<-flying.done
					err = nil
				}
				switch _, unsent := errors.AsType[*notSentError](err); {
				case err == nil && s.answers[0] == "mine":
					answered.Add(1)
				case unsent:
					gaveUp.Add(1)
				default:
					t.Errorf("got %v, %v", s.answers, err)
				}
				cancel()
			}
		})
	}
	callers.Wait()
	if n := answered.Load() + gaveUp.Load(); n != 64*500 || sent.Load() != answered.Load() {
		t.Errorf("%d answered, %d gave up, %d were sent", answered.Load(), gaveUp.Load(), sent.Load())
	}
	if most.Load() > 2 || p.places != 2 || len(p.queue) != 0 {
		t.Errorf("at most %d batches at once; %d places are free, %d shares queued", most.Load(), p.places, len(p.queue))
	}
}

func TestTwoPlacesThatGetFreeBeforeTheFirstInTheQueueWakesServeTwoBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int64
		p := newPipe(func(_ context.Context, batch []*share) {
			time.Sleep(time.Millisecond) // both end in the same instant
			sent.Add(int64(len(batch)))
		}, 3)
		var callers sync.WaitGroup
		for range 20 {
			callers.Go(func() {
				if err := p.process(t.Context(), &share{}); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		if sent.Load() != 20 {
			t.Errorf("%d were sent", sent.Load())
		}
	})
}

func TestPatientSharesGoAlongWithTheNextUrgentOneOrSoonByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches [][]*share
		var mu sync.Mutex
		p := newPipe(func(_ context.Context, batch []*share) {
			mu.Lock()
			defer mu.Unlock()
			batches = append(batches, batch)
		}, 10)
		patiently := func(n int) (ended *sync.WaitGroup) {
			ended = &sync.WaitGroup{}
			for range n {
				ended.Go(func() {
					if err := p.processPatiently(t.Context(), &share{}); err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
			return ended
		}
		three := patiently(3)
		urgent := &share{}
		if err := p.processAtOnce(t.Context(), urgent); err != nil {
			t.Fatal(err)
		}
		three.Wait()
		if len(batches) != 1 || len(batches[0]) != 4 || batches[0][0] != urgent {
			t.Fatalf("sent were %v", batches)
		}
		began := time.Now()
		patiently(2).Wait()
		if took := time.Since(began); len(batches) != 2 || len(batches[1]) != 2 || took != patience {
			t.Fatalf("after %s sent were %v", took, batches)
		}
		synctest.Wait()
		if p.places != 2 {
			t.Errorf("%d places are free", p.places)
		}
	})
}

func TestAPatientShareThatIsGivenUpIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipe(func(_ context.Context, batch []*share) { t.Errorf("sent were %v", batch) }, 10)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- p.processPatiently(ctx, &share{}) }()
		synctest.Wait()
		cancel()
		if _, unsent := errors.AsType[*notSentError](<-ended); !unsent {
			t.Error("it is not told from one that was sent")
		}
		time.Sleep(2 * patience) // in the bubble: the timer has struck
	})
}
