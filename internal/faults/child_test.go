package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storesqlite"
	"github.com/lockstep-dev/lockstep/workflow"
)

// childVariable tells a process that it is a child, and what it is to do.
const childVariable = "LOCKSTEP_FAULTS_CHILD"

// orders are what a child is told.
type orders struct {
	Dir     string
	Seed    uint64
	Process int
	Locks   string // the URL of a Redis server; empty is in memory
	Callers int
	Last    bool // it asks for nothing new, and lives until all has come to its end
}

const (
	lease     = 3 * time.Second
	lockLease = 4 * lease
	// started is what a child says when its engine runs.
	started = "started"
)

func storeIn(dir string) string { return filepath.Join(dir, "executions.db") }

// child is a process that works until it is killed, or until nothing is left to do.
type child struct {
	orders

	began     time.Time
	world     *world
	kinds     []kind
	store     *storesqlite.Store
	provider  driver.Provider
	locks     *locking.Service
	engine    *workflow.Engine
	callers   *callers
	container *container.Container
}

func runChild(text string) error {
	c := &child{began: time.Now()}
	if err := json.Unmarshal([]byte(text), &c.orders); err != nil {
		return err
	}
	ctx := context.Background()
	if err := c.start(ctx); err != nil {
		return err
	}
	fmt.Println(started)
	ends := make(chan error, c.Callers)
	for range c.Callers {
		go func() { ends <- c.callers.work(ctx) }()
	}
	for range c.Callers { // what is not the last works until it is killed
		if err := <-ends; err != nil {
			return err
		}
	}
	return errors.Join(c.settled(ctx), c.stop(ctx))
}

// start starts the engine, and reads what callers have not heard the end of.
func (c *child) start(ctx context.Context) (err error) {
	before, err := readNotes(c.Dir, asks, answered)
	if err != nil {
		return err
	}
	l, err := openNotes(c.Dir, c.Process)
	if err != nil {
		return err
	}
	c.world = &world{notes: l, seed: c.Seed}
	c.kinds = kinds(c.world)
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if c.store, err = storesqlite.Open(storeIn(c.Dir), storesqlite.Config{}); err != nil {
		return err
	}
	c.provider = lockmem.New(lockmem.Config{})
	if c.Locks != "" {
		c.provider = lockredis.New(lockredis.Config{RedisURL: c.Locks})
	}
	c.locks, err = locking.New(ctx, locking.Config{Logger: log, Providers: []locking.Registration{{ID: "faults", IsDefault: true, Provider: c.provider}}})
	if err != nil {
		return err
	}
	c.container = container.New()
	container.MustRegister(c.container, locking.ServiceKey, c.locks)
	set := workflow.Set{}
	for _, k := range c.kinds {
		set = append(set, k.flow)
	}
	c.engine, err = workflow.NewEngine(workflow.Config{
		Node: "shop-1", Container: c.container, Store: c.store, Workflows: set, Logger: log,
		Lease: lease, LockLease: lockLease, CancelGrace: lease / 2, RestAfter: 10 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	c.callers = newCallers(c, before)
	return c.engine.Start(ctx)
}

// settled waits until nothing is left to do, and no lock is held. What an execution of this
// process has taken has been given back by then; what a dead one had taken, and has not
// come to record, lapses.
func (c *child) settled(ctx context.Context) error {
	if err := patiently(longestEnd/2, func() (string, error) { return c.unfinished(ctx) }); err != nil {
		return err
	}
	began := time.Now()
	err := patiently(lockLease+time.Second, func() (string, error) {
		page, err := c.provider.(driver.Inspector).List(ctx, driver.ListRequest{IncludeForeign: true})
		var one string
		for _, l := range page.Locks {
			one = fmt.Sprintf("%q is held by %q since %s", l.Key, l.Owner, l.Since)
			if l.Since.After(c.began) {
				return "", errors.New(one)
			}
		}
		return one, err
	})
	fmt.Println("no lock is left after", time.Since(began).Round(time.Millisecond))
	return err
}

// unfinished names an execution that has something to do.
func (c *child) unfinished(ctx context.Context) (string, error) {
	var one string
	err := eachExecution(ctx, c.store, func(x *store.Snapshot) {
		if !x.State.Finished() || x.Unsettled {
			one = fmt.Sprintf("%s is %s, unsettled: %t, due %s, its owner is %q", x.Key, x.State, x.Unsettled, x.DueAt, x.Owner)
		}
	})
	return one, err
}

func eachExecution(ctx context.Context, s store.Store, do func(x *store.Snapshot)) error {
	q := store.Query{Limit: 1000}
	for {
		page, err := s.List(ctx, q)
		if err != nil {
			return err
		}
		for i := range page.Executions {
			do(&page.Executions[i])
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return nil
		}
	}
}

func (c *child) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return errors.Join(c.engine.Stop(ctx), c.locks.Close(ctx), c.store.Close(ctx), c.world.notes.close())
}

// patiently asks until nothing is left.
func patiently(bound time.Duration, left func() (string, error)) error {
	until := time.Now().Add(bound)
	for {
		what, err := left()
		if what == "" || err != nil {
			return err
		}
		if time.Now().After(until) {
			return fmt.Errorf("after %s there is still: %s", bound, what)
		}
		time.Sleep(5 * time.Millisecond) // the pause between two looks
	}
}
