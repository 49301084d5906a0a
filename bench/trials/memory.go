package trials

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/lockstep-dev/lockstep/bench/locks"
	"github.com/lockstep-dev/lockstep/bench/server"
)

// memory measures what a held lock and a waiter cost, each on a server of its own.
func (c *Config) memory(ctx context.Context, report *Report) error {
	for _, l := range locks.All() {
		if l.Kind == locks.Peer || !l.Alone || (c.OursOnly && l.Kind != locks.Ours) {
			continue
		}
		row, err := c.held(ctx, l)
		if err != nil {
			return fmt.Errorf("%d held locks of %s: %w", c.Held, l.Name, err)
		}
		report.Memory = append(report.Memory, row)
		if l.Kind != locks.Ours {
			continue
		}
		if row, err = c.waiting(ctx, l); err != nil {
			return fmt.Errorf("%d waiters of %s: %w", c.Waiting, l.Name, err)
		}
		report.Memory = append(report.Memory, row)
	}
	return nil
}

// footprint is what is in use, here and at the server.
type footprint struct{ heap, stack, server int64 }

func look(ctx context.Context, s *server.Server) (f footprint, err error) {
	runtime.GC()
	runtime.GC() // what the first one finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f.heap, f.stack = int64(m.HeapAlloc), int64(m.StackInuse)
	f.server, err = s.Memory(ctx)
	return f, err
}

// row divides what was added by how many there are.
func (f footprint) row(name, what string, count int, before footprint) MemoryRow {
	n := float64(count)
	return MemoryRow{
		Name: name, What: what, Count: count,
		Heap:   float64(f.heap-before.heap) / n,
		Stack:  float64(f.stack-before.stack) / n,
		Server: float64(f.server-before.server) / n,
	}
}

// onServer opens a candidate on a new server.
func onServer(ctx context.Context, c locks.Candidate, use func(*server.Server, opened) error) (err error) {
	s, err := server.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	l, err := open(ctx, c, s.Addr())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Locker.Close()) }()
	return use(s, l)
}

func (c *Config) held(ctx context.Context, candidate locks.Candidate) (row MemoryRow, err error) {
	return row, onServer(ctx, candidate, func(s *server.Server, l opened) error {
		keeper, ok := l.Locker.(locks.Keeper)
		if !ok {
			return errors.New("it does not keep locks")
		}
		handles := make([]locks.Held, c.Held)
		before, err := look(ctx, s)
		if err != nil {
			return err
		}
		for i := range handles {
			if handles[i], err = keeper.Keep(ctx, []string{"held:" + strconv.Itoa(i)}); err != nil {
				return err
			}
		}
		after, err := look(ctx, s)
		row = after.row(l.Name, "held lock", c.Held, before)
		for _, h := range handles { // they are held until here
			err = errors.Join(err, h.Release(ctx))
		}
		return err
	})
}

// crowd are waiters for one key, in this process.
type crowd struct {
	served, twice atomic.Int64
	ended         chan error
}

func (c *Config) waiting(ctx context.Context, candidate locks.Candidate) (row MemoryRow, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "lockstep-bench-")
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	_, w, err := newWitness(dir)
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	err = onServer(ctx, candidate, func(s *server.Server, l opened) error {
		keys := []string{"waited-for"}
		crowd := crowd{ended: make(chan error, c.Waiting)}
		free, holder := make(chan struct{}), make(chan error, 1)
		taken := make(chan struct{})
		go func() {
			holder <- l.Hold(ctx, keys, func(uint64) { close(taken); <-free })
		}()
		select {
		case <-taken:
		case err := <-holder:
			return err
		}
		before, err := look(ctx, s)
		if err == nil {
			err = crowd.gather(ctx, l, keys, w, c.Waiting)
		}
		if err != nil {
			close(free)
			return errors.Join(err, <-holder)
		}
		after, err := look(ctx, s)
		row = after.row(l.Name, "waiter", c.Waiting, before)
		begin := time.Now()
		close(free)
		err = errors.Join(err, <-holder, crowd.leave(c.Waiting), w.verdict(l.Name))
		row.ServedPerSecond = float64(c.Waiting) / time.Since(begin).Seconds()
		return err
	})
	return row, err
}

// gather lets waiters come, and returns when all stand in the queue.
func (c *crowd) gather(ctx context.Context, l opened, keys []string, w *witness, count int) error {
	counter, ok := l.Locker.(locks.Counter)
	if !ok {
		return errors.New("it does not tell how many wait")
	}
	for range count {
		go func() {
			turns := 0
			err := l.Hold(ctx, keys, func(token uint64) {
				w.pass(token)
				if turns++; turns > 1 {
					c.twice.Add(1)
				}
				c.served.Add(1)
			})
			c.ended <- err
		}()
	}
	for {
		waiting, err := counter.Waiting(ctx, keys[0])
		if err != nil {
			return err
		}
		if waiting == count {
			break
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("only %d wait: %w", waiting, err)
		}
	}
	// For longer than two ticks only what keeps them alive is sent.
	if err := sleep(ctx, 1200*time.Millisecond); err != nil {
		return err
	}
	if n := c.served.Load(); n > 0 {
		return fmt.Errorf("%d were served while another held the lock", n)
	}
	return nil
}

// leave waits until all have had their turn.
func (c *crowd) leave(count int) error {
	var errs []error
	for range count {
		if err := <-c.ended; err != nil {
			errs = append(errs, err)
		}
	}
	if n, twice := c.served.Load(), c.twice.Load(); n != int64(count) || twice > 0 {
		errs = append(errs, fmt.Errorf("%d of %d waiters were served, %d of them more than once", n, count, twice))
	}
	return errors.Join(errs[:min(len(errs), 3)]...)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tenThousand finds the row of the waiters whose memory is bounded.
func tenThousand(rows []MemoryRow) (MemoryRow, bool) {
	i := slices.IndexFunc(rows, func(r MemoryRow) bool { return r.What == "waiter" && r.Count == 10_000 })
	if i < 0 {
		return MemoryRow{}, false
	}
	return rows[i], true
}
