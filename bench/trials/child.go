package trials

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/bench/locks"
)

// childVariable marks a process that is one of the four of a contest.
const childVariable = "LOCKSTEP_BENCH_CHILD"

// ready is what a child says when it has connected.
const ready = "ready\n"

// IsChild says that this process was started by [Run], and is to call [Child] and
// nothing else.
func IsChild() bool { return os.Getenv(childVariable) != "" }

// Child takes part in a contest: it reads it from in, says that it is ready, reads
// when to start, and writes what came of it.
func Child(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	lines := bufio.NewReader(in)
	text, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	var c contest
	if err := json.Unmarshal(text, &c); err != nil {
		return err
	}
	w, err := openWitness(c.Witness)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	candidate, err := locks.Find(c.Candidate)
	if err != nil {
		return err
	}
	l, err := open(ctx, candidate, c.Addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Locker.Close()) }()
	if _, err := io.WriteString(out, ready); err != nil {
		return err
	}
	at, err := lines.ReadString('\n')
	if err != nil {
		return err // the parent has ended
	}
	nanos, err := strconv.ParseInt(strings.TrimSpace(at), 10, 64)
	if err != nil {
		return err
	}
	t, err := c.compete(ctx, l, w, time.After(time.Until(time.Unix(0, nanos))))
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(t)
}

// oneContest runs a contest in this process, or in so many children, and checks that
// the lock excluded.
func oneContest(ctx context.Context, c contest, processes int) (t tally, err error) {
	dir, err := os.MkdirTemp("", "lockstep-bench-")
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path, w, err := newWitness(dir)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	c.Witness = path
	if processes == 1 {
		t, err = c.here(ctx, w)
	} else {
		t, err = c.inChildren(ctx, processes)
	}
	return t, errors.Join(err, w.verdict(c.Candidate))
}

func (c *contest) here(ctx context.Context, w *witness) (t tally, err error) {
	candidate, err := locks.Find(c.Candidate)
	if err != nil {
		return t, err
	}
	l, err := open(ctx, candidate, c.Addr)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, l.Locker.Close()) }()
	return c.compete(ctx, l, w, time.After(0))
}

// child is a process that takes part, as its parent sees it.
type child struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errors bytes.Buffer
}

func (c *contest) inChildren(ctx context.Context, processes int) (_ tally, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.Window+c.Patience+drain)
	defer cancel() // it kills who is left
	var all []*child
	defer func() {
		for _, p := range all {
			_ = p.in.Close() // one that still waits for its start ends
			if bad := p.cmd.Wait(); bad != nil {
				err = errors.Join(err, fmt.Errorf("a child with %s: %w: %s", c.Candidate, bad, p.errors.String()))
			}
		}
	}()
	for range processes {
		p, err := c.spawn(ctx)
		if p != nil {
			all = append(all, p)
		}
		if err != nil {
			return tally{}, err
		}
	}
	for _, p := range all {
		if said, err := p.out.ReadString('\n'); said != ready {
			return tally{}, fmt.Errorf("a child that is not ready said %q, %w", said, err)
		}
	}
	start := strconv.FormatInt(time.Now().Add(20*time.Millisecond).UnixNano(), 10) + "\n"
	for _, p := range all {
		if _, err := io.WriteString(p.in, start); err != nil {
			return tally{}, err
		}
	}
	tallies := make([]tally, processes)
	for i, p := range all {
		if err := json.NewDecoder(p.out).Decode(&tallies[i]); err != nil {
			return tally{}, fmt.Errorf("what a child reports: %w", err)
		}
	}
	return join(tallies), nil
}

// spawn starts this binary once more, as a child.
func (c *contest) spawn(ctx context.Context) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &child{cmd: exec.CommandContext(ctx, self)}
	p.cmd.Env = append(os.Environ(), childVariable+"=1")
	p.cmd.Stderr = &p.errors
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	return p, json.NewEncoder(p.in).Encode(c)
}
