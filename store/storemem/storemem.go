// Package storemem keeps executions in the memory of one process. They end with
// it: nothing is recovered after a crash.
package storemem

import (
	"bytes"
	"container/heap"
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// Store is an in-memory [store.Store].
//
// Invariants:
//  1. Nothing outside shares memory with what it keeps.
//  2. A finished execution is kept until its ForgetAt, and no longer than the
//     next Create or Load after it.
type Store struct {
	id string

	mu      sync.Mutex
	byKey   map[store.Key]*entry
	expiry  expiryHeap
	closed  bool
	nowFunc func() time.Time
}

var _ store.Store = (*Store)(nil)

type entry struct {
	x      *store.Execution
	lastID uint64 // of the write that made the present revision
}

// New returns an empty store.
func New() *Store {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails, as crypto/rand says
	return &Store{id: "mem-" + hex.EncodeToString(id[:]), byKey: make(map[store.Key]*entry), nowFunc: time.Now}
}

// Describe implements [store.Store].
func (s *Store) Describe() store.Info { return store.Info{ID: s.id} }

// Create implements [store.Store].
func (s *Store) Create(ctx context.Context, x *store.Execution) (*store.Execution, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, store.ErrClosed
	}
	s.forgetDue(s.nowFunc())
	if e, ok := s.byKey[x.Key]; ok {
		return clone(e.x), nil
	}
	kept := clone(x)
	kept.Epoch, kept.Revision = 1, 1
	s.byKey[x.Key] = &entry{x: kept}
	s.noteEnd(kept)
	return nil, nil //nolint:nilnil // there was none: the contract of Create
}

// Commit implements [store.Store].
func (s *Store) Commit(ctx context.Context, w store.Write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.ErrClosed
	}
	e, ok := s.byKey[w.Key]
	if !ok {
		return store.ErrNotFound
	}
	found := e.x.Fence
	if found.Owner == w.Fence.Owner && found.Epoch == w.Fence.Epoch {
		switch {
		case found.Revision == w.Fence.Revision:
			e.x.Apply(cloneChange(w.Change))
			e.x.Revision++
			e.lastID = w.ID
			s.noteEnd(e.x)
			return nil
		case found.Revision == w.Fence.Revision+1 && e.lastID == w.ID:
			return nil
		}
	}
	return &store.FencedError{Key: w.Key, Wrote: w.Fence, Found: found}
}

// Load implements [store.Store].
func (s *Store) Load(ctx context.Context, key store.Key) (*store.Execution, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, store.ErrClosed
	}
	s.forgetDue(s.nowFunc())
	e, ok := s.byKey[key]
	if !ok {
		return nil, store.ErrNotFound
	}
	return clone(e.x), nil
}

// Forget implements [store.Store].
func (s *Store) Forget(ctx context.Context, key store.Key) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.byKey[key]; ok && e.x.State.Finished() {
		delete(s.byKey, key)
	}
	return nil
}

// Close implements [store.Store].
func (s *Store) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// Len returns how many executions are kept.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byKey)
}

// noteEnd remembers when a finished execution may go.
func (s *Store) noteEnd(x *store.Execution) {
	if x.State.Finished() && !x.ForgetAt.IsZero() {
		heap.Push(&s.expiry, expiring{x.ForgetAt, x.Key, x.RunUID})
	}
}

// forgetDue deletes what may go by now. A key may have been given to a later
// run, which is left alone.
func (s *Store) forgetDue(now time.Time) {
	for len(s.expiry) > 0 && !s.expiry[0].at.After(now) {
		due := heap.Pop(&s.expiry).(expiring)
		if e, ok := s.byKey[due.key]; ok && e.x.RunUID == due.run && e.x.State.Finished() {
			delete(s.byKey, due.key)
		}
	}
}

type expiring struct {
	at  time.Time
	key store.Key
	run string
}

type expiryHeap []expiring

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h expiryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiryHeap) Push(x any)        { *h = append(*h, x.(expiring)) }
func (h *expiryHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

func clone(x *store.Execution) *store.Execution {
	c := *x
	c.Input = bytes.Clone(x.Input)
	c.InputHash = bytes.Clone(x.InputHash)
	c.Head = cloneHead(x.Head)
	c.Nodes = slices.Clone(x.Nodes)
	for i := range c.Nodes {
		c.Nodes[i] = cloneNode(c.Nodes[i])
	}
	c.Failures = cloneFailures(x.Failures)
	return &c
}

func cloneChange(c store.Change) store.Change {
	nodes := slices.Clone(c.Nodes)
	for i := range nodes {
		nodes[i].Node = cloneNode(nodes[i].Node)
	}
	return store.Change{Head: cloneHead(c.Head), Nodes: nodes, Failures: cloneFailures(c.Failures)}
}

func cloneHead(h store.Head) store.Head {
	h.Output = bytes.Clone(h.Output)
	h.Holds = slices.Clone(h.Holds)
	h.Leaving = slices.Clone(h.Leaving)
	return h
}

func cloneNode(n store.Node) store.Node {
	n.Output = bytes.Clone(n.Output)
	n.Undo = bytes.Clone(n.Undo)
	return n
}

func cloneFailures(list []store.Failure) []store.Failure {
	copies := slices.Clone(list)
	for i := range copies {
		copies[i].Chain = slices.Clone(copies[i].Chain)
	}
	return copies
}
