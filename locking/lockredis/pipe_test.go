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
	}, 2, 10)
	var answered, gaveUp atomic.Int64
	var callers sync.WaitGroup
	for i := range 64 {
		callers.Go(func() {
			for n := range 500 {
				ctx, cancel := context.WithCancel(context.Background())
				if (n+i)%7 == 0 {
					go cancel()
				}
				s := &share{args: []string{"mine"}, count: 1}
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
		}, 2, 3)
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
