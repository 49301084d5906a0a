package container

import (
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
)

type state int32

const (
	idle state = iota
	constructing
	ready
)

// entry is a registered service.
type entry struct {
	name      string
	typ       reflect.Type
	home      *registry
	construct func(c *Container) (any, error)

	// done publishes value to readers that take no lock.
	done atomic.Bool

	// The rest is guarded by home.graph.
	state state
	value any
	run   *building
}

// building is a construction under way.
type building struct {
	entry    *entry
	outer    *building // the construction that asked for this one
	finished chan struct{}
	value    any
	err      error
}

func (e *entry) get(by *building) (any, error) {
	if e.construct == nil || e.done.Load() {
		return e.value, nil
	}
	graph := e.home.graph
	graph.Lock()
	switch e.state {
	case ready:
		graph.Unlock()
		return e.value, nil
	case constructing:
		run := e.run
		if path := graph.cycle(by, run, nil); path != nil {
			graph.Unlock()
			return nil, &CycleError{Path: path}
		}
		wait := &wait{by, run}
		graph.waits[wait] = struct{}{}
		graph.Unlock()
		<-run.finished
		graph.Lock()
		delete(graph.waits, wait)
		graph.Unlock()
		return run.value, run.err
	}
	run := &building{entry: e, outer: by, finished: make(chan struct{})}
	e.state, e.run = constructing, run
	graph.Unlock()
	e.call(run)
	return run.value, run.err
}

// call runs the constructor and tells those who wait.
func (e *entry) call(run *building) {
	returned := false
	defer func() {
		if v := recover(); !returned {
			if v == nil {
				v = errors.New("runtime.Goexit was called")
			}
			run.value, run.err = nil, &PanicError{Name: e.name, Value: v, Stack: debug.Stack()}
		}
		e.home.graph.Lock()
		e.state, e.run = idle, nil
		if run.err == nil {
			e.state, e.value = ready, run.value
			e.done.Store(true)
		}
		e.home.graph.Unlock()
		close(run.finished)
	}()
	run.value, run.err = e.construct(&Container{reg: e.home, build: run})
	if run.err != nil {
		run.err = fmt.Errorf("container: construct %q: %w", e.name, run.err)
	}
	returned = true
}

// graph knows who waits for whom. There is one for a container and its children.
type graph struct {
	sync.Mutex

	waits map[*wait]struct{}
}

// wait is a resolution that waits for a construction of another goroutine.
type wait struct{ by, run *building }

// cycle returns the path from a construction back to itself that would close if
// by waited for run, or nil. Between has the names on the way from by to run. It
// requires the lock.
func (g *graph) cycle(by, run *building, between []string) []string {
	if by.within(run) != nil {
		return slices.Concat(by.names(run), between, []string{run.entry.name})
	}
	for w := range g.waits {
		if w.by.within(run) == nil {
			continue
		}
		if path := g.cycle(by, w.run, slices.Concat(between, w.by.names(run))); path != nil {
			return path
		}
	}
	return nil
}

// within returns the construction run when b is run, or serves it.
func (b *building) within(run *building) *building {
	for ; b != nil; b = b.outer {
		if b == run {
			return b
		}
	}
	return nil
}

// names lists the constructions from run to b, outermost first.
func (b *building) names(run *building) []string {
	var names []string
	for ; b != nil; b = b.outer {
		names = append(names, b.entry.name)
		if b == run {
			break
		}
	}
	slices.Reverse(names)
	return names
}
