// Package durable runs workflows of three steps on SQLite files, on Lockstep's engine and
// on those of others, and what a file takes at best.
package durable

import (
	"context"
	"fmt"
	"runtime/debug"
)

// Sync is SQLite's synchronous: what a commit waits for.
type Sync string

const (
	// Full waits for the disk with each commit.
	Full Sync = "FULL"
	// Normal waits for the disk when the log is brought into the file.
	Normal Sync = "NORMAL"
)

// Syncs are all of them.
func Syncs() []Sync { return []Sync{Full, Normal} }

// Steps is how many steps a workflow has. Each adds one to what it is given.
const Steps = 3

// Contender is an engine, or a floor, with its setting.
type Contender struct {
	Name string
	// Setting says how it is configured, and what stays of an execution.
	Setting string
	// Open makes a new file in the folder, and starts what runs workflows on it.
	Open func(ctx context.Context, folder string, sync Sync) (Runner, error)
}

// Runner runs workflows. It may be called concurrently.
type Runner interface {
	// Run runs one on n, and waits for what it comes to.
	Run(ctx context.Context, n int) (int, error)
	// Close ends what was started, and closes the file.
	Close(ctx context.Context) error
}

// Names of contenders that others are compared with.
const (
	NameLockstep = "lockstep"
	NameFloor    = "floor"
	NameDBOS     = "dbos"
)

// Contenders are all of them.
func Contenders() []Contender {
	return []Contender{Lockstep(), LockstepKept(), Floor(), DBOS(), GoWorkflows()}
}

// Check says whether a workflow came to what it should.
func Check(n, got int, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("the workflow on %d: %w", n, err)
	case got != n+Steps:
		return fmt.Errorf("the workflow on %d came to %d", n, got)
	}
	return nil
}

// version is that of a module in this program.
func version(module string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == module {
				return m.Version
			}
		}
	}
	return "of an unknown version"
}
