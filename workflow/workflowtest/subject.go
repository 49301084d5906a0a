package workflowtest

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

// DefaultLease is the lease of the engines, and so how long the next process waits for
// what a dead one had, at most.
const DefaultLease = time.Second

// Subject is what is explored. Program and Check are required.
type Subject struct {
	// World makes what outlives the processes of one history. All that it keeps on disk
	// is in dir, which is new for each history. Nil is in memory, for [Explore] alone:
	// the time of such a history is that of [testing/synctest], and is passed over.
	World func(t testing.TB, dir string) World
	// Program makes what a process runs. It is called for each.
	Program func(t testing.TB, dir string) Program
	// Check judges a history at its end. The error is what Run has returned.
	Check func(t testing.TB, dir string, err error)
	// Locks is the name under which steps know the lock server, as in
	// [locking.Registration]; empty is "explored". It is the default provider, too.
	Locks string
	// Twice has the next process die as well, at each of its points in turn.
	Twice bool
	// Every has one in so many points explored, from the first on, where all of them would
	// take too long; zero is each. Where the environment has LOCKSTEP_CRASH_EVERY, that
	// number takes its place.
	Every int
	// Lease is that of the engines; zero is [DefaultLease].
	Lease time.Duration
	// Patience bounds what one process may take; zero is half a minute.
	Patience time.Duration
}

// Program is what a process does. Workflows and Run are required.
type Program struct {
	Workflows workflow.Set
	// Queues are those that the engine serves, as in [workflow.Config].
	Queues []workflow.Queue
	// Register registers what steps resolve; nil is nothing. The lock service is there.
	Register func(c *container.Container)
	// Run begins what is explored, with ids of its own ([workflow.WithExecutionID]), and
	// waits for the end. The next process runs it again.
	Run func(ctx context.Context, e *workflow.Engine) error
}

// World is what outlives a process.
type World struct {
	// OpenStore opens the store, as each process does that starts. What it returns is
	// closed when the process ends, however it ends.
	OpenStore func() (store.Store, error)
	// NewLocks returns a provider that speaks to the lock server.
	NewLocks func() driver.Queuer
	// Node is the name of all engines: on a store that one process has at a time they go
	// on at once with what the one before had. Empty has them wait for its lease.
	Node string
}

// everyVariable takes the place of [Subject.Every].
const everyVariable = "LOCKSTEP_CRASH_EVERY"

func (s *Subject) setDefaults() {
	if every, err := strconv.Atoi(os.Getenv(everyVariable)); err == nil {
		s.Every = every
	}
	s.Every = max(s.Every, 1)
	if s.Lease == 0 {
		s.Lease = DefaultLease
	}
	if s.Locks == "" {
		s.Locks = "explored"
	}
	if s.Patience == 0 {
		s.Patience = 30 * time.Second
	}
}
