package runctx

import "sync"

// Attempts is the scope of an attempt that is opened when it is asked for: most bodies
// take no lock. Its methods do nothing to a scope that nobody has asked for, and open
// it in the state in which it would be. The zero Attempts has no scope.
type Attempts struct {
	parent *Scope
	name   string
	number uint64

	mu                     sync.Mutex
	scope                  *Scope
	returned, left, ending bool
}

// Init says which scope is meant: see [Scope.Attempt].
func (a *Attempts) Init(parent *Scope, name string, number uint64) {
	a.parent, a.name, a.number = parent, name, number
}

// Scope opens the scope.
func (a *Attempts) Scope() *Scope {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.scope == nil && a.parent != nil {
		a.scope = a.parent.Attempt(a.name, a.number)
		if a.returned {
			a.scope.Returned()
		}
		if a.left {
			a.scope.LeaveBehind()
		}
		if a.ending {
			a.scope.End()
		}
	}
	return a.scope
}

// opened returns the scope, if it was asked for, and notes what is about to be done
// to it.
func (a *Attempts) opened(note *bool) *Scope {
	a.mu.Lock()
	defer a.mu.Unlock()
	*note = true
	return a.scope
}

// Returned is [Scope.Returned].
func (a *Attempts) Returned() {
	if s := a.opened(&a.returned); s != nil {
		s.Returned()
	}
}

// LeaveBehind is [Scope.LeaveBehind].
func (a *Attempts) LeaveBehind() {
	if s := a.opened(&a.left); s != nil {
		s.LeaveBehind()
	}
}

// End is [Scope.End].
func (a *Attempts) End() {
	if s := a.opened(&a.ending); s != nil {
		s.End()
	}
}

// Pause is [Scope.Pause]. It may concern locks that earlier attempts have taken.
func (a *Attempts) Pause(first uint64) []Hold {
	if a.parent.Quiet() {
		a.End()
		return nil
	}
	s := a.Scope()
	_ = a.opened(&a.ending)
	return s.Pause(first)
}
