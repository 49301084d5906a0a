package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// message is a line that a child writes for its parent.
type message struct {
	Done int
	Sum  *tally `json:",omitempty"`
}

// runChild sells its part and tells the parent in lines of JSON.
func runChild(ctx context.Context, set settings, out io.Writer) error {
	enc := json.NewEncoder(out)
	if err := enc.Encode(message{}); err != nil { // from now on it can be interrupted
		return err
	}
	// Interrupted by now, it begins no order, and says so; that needs the shelf, too.
	s, err := openRedisShelf(context.WithoutCancel(ctx), set, false)
	if err != nil {
		return err
	}
	var sendErr error
	sum, err := sell(ctx, set, s, quietLogger(os.Stderr), func(done int) {
		sendErr = errors.Join(sendErr, enc.Encode(message{Done: done}))
	})
	return errors.Join(err, sendErr, enc.Encode(message{Done: sum.Done(), Sum: &sum}), s.close(context.WithoutCancel(ctx)))
}

// runParent deals the orders out to child processes and adds up what they say.
func runParent(ctx context.Context, set settings, out, errOut io.Writer) (tally, error) {
	set.run = runName()
	life := context.WithoutCancel(ctx)
	s, err := openRedisShelf(ctx, set, true)
	if err != nil {
		return tally{}, err
	}
	announce(out, set)
	bar := newProgress(out, set.orders)
	sum, err := runChildren(ctx, set, errOut, bar.show)
	bar.end()
	if err != nil {
		return sum, errors.Join(err, s.close(life))
	}
	return finishUp(life, set, s, sum)
}

func runChildren(ctx context.Context, set settings, errOut io.Writer, tick func(done int)) (tally, error) {
	sum := newTally()
	done := make([]int, set.processes)
	var mu sync.Mutex
	var errs []error
	var children sync.WaitGroup
	first := 0
	for i := range set.processes {
		share := set.orders / set.processes
		if i < set.orders%set.processes {
			share++
		}
		from := first
		first += share
		children.Go(func() {
			err := runOne(ctx, set, from, share, errOut, func(m message) {
				mu.Lock()
				defer mu.Unlock()
				done[i] = m.Done
				if m.Sum != nil {
					sum.add(*m.Sum)
				}
				tick(total(done))
			})
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("process %d: %w", i+1, err))
			}
		})
	}
	children.Wait()
	return sum, errors.Join(errs...)
}

func total(list []int) int {
	n := 0
	for _, v := range list {
		n += v
	}
	return n
}

// runOne runs a child. An interrupt is passed on, so that the child can tell what
// it did not finish.
func runOne(ctx context.Context, set settings, first, orders int, errOut io.Writer, hear func(message)) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, "-child", "-run", set.run,
		"-first", strconv.Itoa(first), "-orders", strconv.Itoa(orders),
		"-stock", strconv.Itoa(set.stock), "-products", strconv.Itoa(set.products), "-workers", strconv.Itoa(set.workers),
		"-decline", strconv.Itoa(set.decline), "-unguarded="+strconv.FormatBool(set.unguarded))
	ready := make(chan struct{})
	said := sync.OnceFunc(func() { close(ready) })
	cmd.Cancel = func() error {
		<-ready // one that has not begun would die of it, and tell nothing
		return cmd.Process.Signal(syscall.SIGINT)
	}
	cmd.WaitDelay = 2 * drainTime
	cmd.Stderr = errOut
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("open a pipe: %w", err)
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start a child: %w", err)
	}
	complete, readErr := listen(pipe, func(m message) {
		said()
		hear(m)
	})
	said()
	err = cmd.Wait()
	switch {
	case complete && readErr == nil:
		return nil
	case readErr != nil:
		return errors.Join(readErr, err)
	}
	return fmt.Errorf("it ended after %s without a result: %w", time.Since(start).Round(time.Millisecond), err)
}

// listen reads a child's lines; complete says that it has given its result.
func listen(pipe io.Reader, hear func(message)) (complete bool, err error) {
	lines := bufio.NewScanner(pipe)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return complete, fmt.Errorf("a line of a child is not JSON: %q: %w", lines.Text(), err)
		}
		complete = complete || m.Sum != nil
		hear(m)
	}
	if err := lines.Err(); err != nil {
		return complete, fmt.Errorf("read a child's lines: %w", err)
	}
	return complete, nil
}
