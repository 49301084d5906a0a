package lockredis

import (
	"context"
	"slices"
	"sync"
	"time"
)

// pipe sends what many callers ask in one call of the script. While a place is free a
// share is sent at once, by itself most often, so a lone caller pays next to nothing.
// Those that come while all places are taken queue up; when a place gets free they go
// together.
//
// A caller that sends by itself hangs with a server that does, until the client's read
// timeout: reads heed no context that is cancelled. So calls go beside the callers once
// one has got no answer, and batches always.
//
// go-redis has something like it (AutoPipeline), still experimental in 9.23: it
// heeds no contexts, waits for stragglers, and has the server run one script for each
// caller, which costs it the most.
//
// Invariants:
//  1. At most places batches are under way.
//  2. While shares are queued all places are taken. Whoever has a place sends until
//     nothing is queued.
type pipe struct {
	send func(ctx context.Context, batch []*share)
	most int // shares in a batch

	mu     sync.Mutex
	places int
	silent bool // the last call got no answer
	queue  []*share
	patient
}

// pipeNames is how many keys the shares of a batch have together, unless one alone
// has more.
const pipeNames = 1000

// pipePlaces is how many batches are under way at most: one that the server works on,
// and one that comes or goes.
const pipePlaces = 2

func newPipe(send func(context.Context, []*share), most int) *pipe {
	return &pipe{send: send, most: most, places: pipePlaces}
}

// inFlightError says that ctx ended while a command was on its way. The command may
// be carried out; done gets something when that can be told.
type inFlightError struct {
	error
	done <-chan struct{}
}

func (e *inFlightError) Unwrap() error { return e.error }

// notSentError says that ctx ended before a command was sent.
type notSentError struct{ error }

func (e *notSentError) Unwrap() error { return e.error }

// inFlightGrace is how long the end of a command is awaited that is on its way when
// its context ends. Its answer is almost always at hand by then.
const inFlightGrace = 50 * time.Millisecond

// process has a share answered. Unless it returns nil the share is not to be read.
func (p *pipe) process(ctx context.Context, s *share) error {
	p.mu.Lock()
	if p.places > 0 && !p.silent {
		p.places--
		p.mu.Unlock()
		p.send(ctx, []*share{s})
		if batch := p.next(s.err); len(batch) > 0 {
			go p.run(batch) //nolint:gosec // it is for the others, whatever becomes of this caller
		}
		return s.err
	}
	s.sleeps()
	p.queue = append(p.queue, s)
	if p.places > 0 {
		p.places--
		go p.run(p.cut()) //nolint:gosec // as above
	}
	p.mu.Unlock()
	return p.await(ctx, s)
}

// run sends a batch, and then what has queued up meanwhile. One caller's end must not
// end the others' commands: the client's own read and write timeouts bound them.
func (p *pipe) run(batch []*share) {
	for len(batch) > 0 {
		p.send(context.Background(), batch)
		err := batch[0].err
		for _, s := range batch {
			s.wake <- struct{}{}
		}
		batch = p.next(err)
	}
}

// next returns what is to be sent next on a place, which is free when that is nothing.
// The error is that of the call before.
func (p *pipe) next(err error) []*share {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = lost(err)
	batch := p.cut()
	if len(batch) == 0 {
		p.places++
	}
	return batch
}

// await returns when a share has been answered, or ctx has ended.
func (p *pipe) await(ctx context.Context, s *share) error {
	select {
	case <-s.wake:
		return s.err
	case <-ctx.Done():
	}
	if p.desert(s) {
		return &notSentError{ctx.Err()}
	}
	grace := time.NewTimer(inFlightGrace)
	defer grace.Stop()
	select {
	case <-s.wake:
		return s.err
	case <-grace.C:
		return &inFlightError{ctx.Err(), s.wake}
	}
}

// cut takes a batch from the head of the queue; it requires mu.
func (p *pipe) cut() []*share {
	n, names := 0, 0
	for n < min(len(p.queue), p.most) {
		names += len(p.queue[n].names)
		if n > 0 && names > 2*pipeNames {
			break
		}
		n++
	}
	batch := slices.Clone(p.queue[:n])
	p.queue = slices.Delete(p.queue, 0, n)
	return batch
}

// desert takes a share out of the queue, if it still is there: it was not sent.
func (p *pipe) desert(s *share) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, list := range []*[]*share{&p.queue, &p.waiting} {
		if i := slices.Index(*list, s); i >= 0 {
			*list = slices.Delete(*list, i, i+1)
			return true
		}
	}
	return false
}
