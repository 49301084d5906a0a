package lockredis

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// pipe sends the commands of many callers together. A caller that finds a batch
// place free sends at once what is there, its own command alone most often, so a
// lone caller pays nothing. Those who come while all places are taken queue up;
// when a place gets free the first of them sends for all.
//
// go-redis has something like it (AutoPipeline), still experimental in 9.23: it
// heeds no contexts, and waits for stragglers.
//
// Invariants:
//  1. At most places batches are under way.
//  2. While commands are queued all places are taken, or one of the queued callers
//     has been told to send.
type pipe struct {
	client redis.UniversalClient
	most   int // commands in a batch

	mu     sync.Mutex
	places int
	queue  []*ride
}

// ride is one caller's command in the queue.
type ride struct {
	cmd  *redis.Cmd
	lead chan struct{} // this caller is to send for all
	done chan struct{} // closed when the command has been answered, or has failed
}

func newPipe(client redis.UniversalClient, places, most int) *pipe {
	return &pipe{client: client, most: most, places: places}
}

// inFlightError says that ctx ended while a command was on its way. The command may
// be carried out; done is closed when that can be told.
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

// process runs one command.
func (p *pipe) process(ctx context.Context, cmd *redis.Cmd) error {
	p.mu.Lock()
	if p.places > 0 {
		p.places--
		p.mu.Unlock()
		err := p.client.Process(ctx, cmd)
		p.next()
		return err
	}
	r := &ride{cmd: cmd, lead: make(chan struct{}, 1), done: make(chan struct{})}
	p.queue = append(p.queue, r)
	p.mu.Unlock()
	select {
	case <-r.lead:
		p.drive(ctx)
		return cmd.Err()
	case <-r.done:
		return cmd.Err()
	case <-ctx.Done():
	}
	if p.desert(r) {
		return &notSentError{ctx.Err()}
	}
	grace := time.NewTimer(inFlightGrace)
	defer grace.Stop()
	select {
	case <-r.done:
		return cmd.Err()
	case <-grace.C:
		return &inFlightError{ctx.Err(), r.done}
	}
}

// next frees a place, or gives it to the first in the queue.
func (p *pipe) next() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		p.places++
		return
	}
	p.queue[0].lead <- struct{}{}
}

// drive sends what is queued. The caller's own command is the first.
func (p *pipe) drive(ctx context.Context) {
	p.mu.Lock()
	n := min(len(p.queue), p.most)
	batch := p.queue[:n:n]
	p.queue = p.queue[n:]
	if len(p.queue) == 0 {
		p.queue = nil
	}
	p.mu.Unlock()
	cmds := make([]redis.Cmder, len(batch))
	for i, r := range batch {
		cmds[i] = r.cmd
	}
	// One caller's end must not end the others' commands: the client's own read and
	// write timeouts bound the batch.
	all := ctx
	if n > 1 {
		all = context.WithoutCancel(ctx)
	}
	line := p.client.Pipeline()
	_ = line.BatchProcess(all, cmds...) // it only queues them
	_, _ = line.Exec(all)               // each command has its own error
	p.next()
	for _, r := range batch {
		close(r.done)
	}
}

// desert takes a caller out whose context has ended. It answers false when the
// command is on its way.
func (p *pipe) desert(r *ride) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.queue, r)
	if i < 0 {
		return false
	}
	p.queue = slices.Delete(p.queue, i, i+1)
	select {
	case <-r.lead: // it was to send for all: the next one does
		if len(p.queue) > 0 {
			p.queue[0].lead <- struct{}{}
		} else {
			p.places++
		}
	default:
	}
	return true
}
