package workflowtest

import (
	"context"
	"errors"
	"sync"
)

// errDead is what a process is told that has died: it sends nothing any more, and nothing
// reaches it.
var errDead = errors.New("workflowtest: the process has died")

// death is how a process comes to its end: at a call of the world around it.
//
// The points at which it may die are counted from 1: before the first call, after it,
// before the second one, and so on.
type death struct {
	at  int             // the point; zero is never
	die func(at string) // is called once, by whoever gets there

	mu     sync.Mutex
	passed int
	dead   bool
	where  string
	life   context.Context //nolint:containedctx // that of the process
	end    context.CancelFunc
}

func newDeath(at int, die func(at string)) *death {
	d := &death{at: at, die: die}
	d.life, d.end = context.WithCancel(context.Background())
	return d
}

// pass answers false when the process has died, by now or before.
func (d *death) pass(where string) bool {
	d.mu.Lock()
	if d.dead {
		d.mu.Unlock()
		return false
	}
	d.passed++
	if d.passed != d.at {
		d.mu.Unlock()
		return true
	}
	d.dead, d.where = true, where
	d.mu.Unlock()
	d.end()
	d.die(where)
	return false
}

// over ends a process that has not died.
func (d *death) over() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	d.end()
}

// spare lets the process live on, unless it has died, and says where it did.
func (d *death) spare() (where string, dead bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = 0
	return d.where, d.where != ""
}

func (d *death) alive() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.dead
}

// call makes a call of the world, at which the process may die.
func call[T any](d *death, what string, do func() (T, error)) (T, error) {
	var none T
	if !d.pass("before " + what) {
		return none, errDead
	}
	got, err := do()
	if !d.pass("after " + what) {
		return none, errDead
	}
	return got, err
}

// quietly makes a call at which the process does not die.
func quietly[T any](d *death, do func() (T, error)) (T, error) {
	var none T
	if !d.alive() {
		return none, errDead
	}
	got, err := do()
	if !d.alive() {
		return none, errDead
	}
	return got, err
}
