package restart

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/store/storesqlite"
	"github.com/lockstep-dev/lockstep/workflow"
)

// orderVariable has what a process that [Run] has started is to do.
const orderVariable = "LOCKSTEP_BENCH_RESTART"

// order is what a child is to do.
type order struct {
	Role    string
	File    string
	Count   int
	Callers int
	Probes  int
	// AtWork, Takes, Rest and Away are those of [Config].
	AtWork            int
	Takes, Rest, Away time.Duration
	// Profile is the file for the child's CPU profile; empty is none.
	Profile string
	// Spawned is when the child was started.
	Spawned time.Time
}

// since is how long the process has been there.
func (o *order) since() time.Duration { return time.Since(o.Spawned) }

// IsChild says that this process was started by [Run], and is to call [Child] and nothing
// else.
func IsChild() bool { return os.Getenv(orderVariable) != "" }

// Child does what it was started for, and writes what came of it.
func Child(ctx context.Context, out io.Writer) error {
	var o order
	if err := json.Unmarshal([]byte(os.Getenv(orderVariable)), &o); err != nil {
		return err
	}
	role, ok := map[string]func(ctx context.Context, o *order, say func(any) error) error{
		"leave": leave, "resume": resume, "sleep": fallAsleep, "wake": wakeUp,
	}[o.Role]
	if !ok {
		return fmt.Errorf("there is no role %q", o.Role)
	}
	say := json.NewEncoder(out).Encode
	if o.Profile == "" {
		return role(ctx, &o, say)
	}
	f, err := os.Create(o.Profile + "." + o.Role)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	// It may be killed once it has told what it has to tell.
	over := sync.OnceValue(func() error {
		pprof.StopCPUProfile()
		runtime.GC()
		heap, err := os.Create(o.Profile + "." + o.Role + ".heap")
		if err != nil {
			return errors.Join(err, f.Close())
		}
		return errors.Join(pprof.WriteHeapProfile(heap), heap.Close(), f.Close())
	})
	err = role(ctx, &o, func(v any) error { return errors.Join(over(), say(v)) })
	return errors.Join(err, over())
}

// process is a child, as its parent sees it.
type process struct {
	cmd    *exec.Cmd
	in     io.Closer
	out    *json.Decoder
	errors bytes.Buffer
}

// spawn starts this binary once more. It is killed when the context ends.
func spawn(ctx context.Context, o order) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	o.Spawned = time.Now()
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, self)} //nolint:gosec // it is this binary
	p.cmd.Env = append(os.Environ(), orderVariable+"="+string(text))
	p.cmd.Stderr = &p.errors
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = json.NewDecoder(bufio.NewReader(out))
	return p, p.cmd.Start()
}

// hear reads what the child says next.
func (p *process) hear(into any) error {
	if err := p.out.Decode(into); err != nil {
		return fmt.Errorf("what a child says: %w: %s", errors.Join(err, p.kill()), p.errors.String())
	}
	return nil
}

// kill ends the child with SIGKILL.
func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	_ = p.cmd.Wait() // it tells of the signal
	return nil
}

// finish lets the child come to its end.
func (p *process) finish() error {
	_ = p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("a child: %w: %s", err, p.errors.String())
	}
	return nil
}

// untilKilled waits until the parent has no more use for the process.
func untilKilled() { _, _ = io.Copy(io.Discard, os.Stdin) }

// instance is an engine on the file, which has the name that the one before had.
type instance struct {
	*workflow.Engine

	store  *storesqlite.Store
	locks  *locking.Service
	opened time.Duration // since the process was started
}

func start(ctx context.Context, o *order, set ...workflow.Definition) (*instance, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := storesqlite.Open(o.File, storesqlite.Config{})
	if err != nil {
		return nil, err
	}
	i := &instance{store: s, opened: o.since()}
	if i.locks, err = locking.New(ctx, locking.Config{Logger: log}); err != nil {
		return nil, errors.Join(err, s.Close(ctx))
	}
	c := container.New()
	container.MustRegister(c, locking.ServiceKey, i.locks)
	i.Engine, err = workflow.NewEngine(workflow.Config{Store: s, Workflows: set, Logger: log, Container: c, Node: "bench", RestAfter: o.Rest, MaxClaimed: o.AtWork})
	if err == nil {
		err = i.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, i.locks.Close(ctx), s.Close(ctx))
	}
	return i, nil
}

// stop ends the engine, which is given no time for what it has.
func (i *instance) stop(ctx context.Context) error {
	now, cancel := context.WithCancel(ctx)
	cancel()
	err := i.Stop(now)
	if errors.Is(err, workflow.ErrInterrupted) {
		err = nil
	}
	return errors.Join(err, i.locks.Close(ctx), i.store.Close(ctx))
}
