package container

import (
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"sync/atomic"
)

type state int

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
	construct func(c *Container) (any, error) // nil for a plain value

	// done publishes value to readers that take no lock.
	done atomic.Bool

	// The rest is guarded by home.graph.
	state state
	value any
	run   *building
}

// get returns the service, which it constructs or waits for when it must. By is
// the construction that asks, nil outside of one.
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
	case idle:
	}
	run := &building{entry: e, outer: by, finished: make(chan struct{})}
	e.state, e.run = constructing, run
	graph.Unlock()
	e.call(run)
	return run.value, run.err
}

// call runs the constructor and tells those who wait, however it ends.
func (e *entry) call(run *building) {
	returned := false
	defer func() {
		if v := recover(); !returned {
			if v == nil {
				v = errors.New("runtime.Goexit was called")
			}
			run.value, run.err = nil, &PanicError{Name: e.name, Value: v, Stack: debug.Stack()}
		}
		graph := e.home.graph
		graph.Lock()
		run.over = true
		e.state, e.run = idle, nil
		if run.err == nil {
			e.state, e.value = ready, run.value
			e.done.Store(true)
		}
		graph.Unlock()
		close(run.finished)
	}()
	run.value, run.err = e.construct(&Container{reg: e.home, build: run})
	if run.err != nil {
		run.err = fmt.Errorf("container: construct %q: %w", e.name, run.err)
	}
	returned = true
}
