// Package container is a small typed registry of services. What is registered
// under a [Key] of some type is resolved as that type, without assertions:
//
//	locks, err := container.Resolve(ctx, locking.ServiceKey) // *locking.Service
//
// A service is registered as a value, or as a constructor that runs when the
// service is first asked for. A child container adds to what its parent has, or
// shadows it, for example with a fake in a test.
//
// A container is a value; there is no global one. It does not close what it
// holds: whoever made a service ends it.
package container

import (
	"maps"
	"slices"
	"sync"
)

// Container holds services. It may be used concurrently. Make it with [New]; the
// zero Container is invalid.
//
// A child sees what its parent has, and may register another service under the
// same key, for itself alone. A constructor registered in the parent resolves
// from the parent, so that the service it makes is the same for all.
type Container struct {
	reg   *registry
	build *building // the construction that this view was given to; nil outside
}

type registry struct {
	parent  *registry
	mu      sync.RWMutex
	entries map[string]*entry
	graph   *graph
}

// New returns an empty container.
func New() *Container {
	return &Container{reg: newRegistry(nil, &graph{waits: map[*wait]struct{}{}})}
}

// Child returns an empty container that sees this one's services.
func (c *Container) Child() *Container {
	return &Container{reg: newRegistry(c.reg, c.reg.graph), build: c.build}
}

func newRegistry(parent *registry, graph *graph) *registry {
	return &registry{parent: parent, entries: map[string]*entry{}, graph: graph}
}

// Container implements [Resolver]: it returns c itself.
func (c *Container) Container() *Container { return c }

// Names lists the names of all services that can be resolved, the parent's
// included, sorted.
func (c *Container) Names() []string {
	names := map[string]struct{}{}
	for r := c.reg; r != nil; r = r.parent {
		r.mu.RLock()
		for name := range r.entries {
			names[name] = struct{}{}
		}
		r.mu.RUnlock()
	}
	return slices.Sorted(maps.Keys(names))
}
