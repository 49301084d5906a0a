package lockredis

import (
	"context"
	"slices"
	"sync"
	"time"
)

// share is what one caller asks of a script that answers several callers in one
// call: the names of its keys, its arguments, and how many of the answers are its
// own.
type share struct {
	script *script
	hub    *hub
	names  []string // lock, queue, …
	args   []string
	count  int

	answers []any
	more    bool // dead waiters are left
	err     error

	wake  chan struct{} // it has been answered, or is to send its batch
	batch []*share      // that it is to send, itself the first; guarded by pipe.mu
}

// pipe sends what many callers ask in one call of the script. A caller that finds a
// place free sends at once what is there, its own share alone most often, so a lone
// caller pays nothing. Those who come while all places are taken queue up; when a
// place gets free the first of them sends for all.
//
// go-redis has something like it (AutoPipeline), still experimental in 9.23: it
// heeds no contexts, waits for stragglers, and has the server run one script for each
// caller, which costs it the most.
//
// Invariants:
//  1. At most places batches are under way.
//  2. While shares are queued all places are taken. A place that gets free goes to
//     the first in the queue together with its batch, so each share is in the queue,
//     or in the batch of one caller that sends it in any case.
type pipe struct {
	send func(ctx context.Context, batch []*share)
	most int // shares in a batch

	mu     sync.Mutex
	places int
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
	if p.places > 0 {
		p.places--
		p.mu.Unlock()
		p.send(ctx, []*share{s})
		p.next()
		return s.err
	}
	s.wake = make(chan struct{}, 1)
	p.queue = append(p.queue, s)
	p.mu.Unlock()
	return p.await(ctx, s)
}

// await returns when a share that is queued has been answered, or ctx has ended.
func (p *pipe) await(ctx context.Context, s *share) error {
	select {
	case <-s.wake:
		return p.woken(ctx, s)
	case <-ctx.Done():
	}
	switch p.desert(s) {
	case stillQueued:
		return &notSentError{ctx.Err()}
	case toSend:
		return p.woken(ctx, s)
	case onItsWay:
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

// woken goes on with a share that is answered, or whose turn it is to send a batch.
func (p *pipe) woken(ctx context.Context, s *share) error {
	p.mu.Lock()
	batch := s.batch
	s.batch = nil
	p.mu.Unlock()
	if batch == nil {
		return s.err
	}
	// One caller's end must not end the others' commands: the client's own read and
	// write timeouts bound the batch.
	all := ctx
	if len(batch) > 1 {
		all = context.WithoutCancel(ctx)
	}
	p.send(all, batch)
	p.next()
	for _, other := range batch[1:] {
		other.wake <- struct{}{}
	}
	return s.err
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

// next frees a place, or gives it to the first in the queue.
func (p *pipe) next() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		p.places++
		return
	}
	batch := p.cut()
	batch[0].batch = batch
	batch[0].wake <- struct{}{}
}

// whereabouts of a share whose caller's context has ended.
type whereabouts int

const (
	stillQueued whereabouts = iota // it is taken out, and was not sent
	toSend                         // its caller is to send a batch
	onItsWay
)

// desert takes a share out of the queue, if it still is there.
func (p *pipe) desert(s *share) whereabouts {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.queue, s); i >= 0 {
		p.queue = slices.Delete(p.queue, i, i+1)
		return stillQueued
	}
	if i := slices.Index(p.waiting, s); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		return stillQueued
	}
	if s.batch != nil {
		return toSend
	}
	return onItsWay
}
