// Package storemem keeps executions in the memory of one process. They end with
// it: nothing is recovered after a crash.
package storemem

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// Store is an in-memory [store.Store].
//
// Invariants:
//  1. Nothing outside shares memory with what it keeps, and bytes that it keeps are
//     never changed: they are copied out after mu was let go, and in before it is taken,
//     but for what is short.
//  2. Every execution is where [Store.settle] puts it. While there is something to do
//     for it, it is in a chain of its owner, and in a line of its plan when it may be
//     claimed, now or from some time on. What is to be forgotten is in the expiry.
//  3. No call does work for executions that are not its own: it looks at the first of
//     each queue. Deleting what is due is spread over the calls.
type Store struct {
	id string

	mu        sync.Mutex
	byKey     map[store.Key]*entry
	plans     map[store.PlanID]*plan
	instances map[store.Instance]*instance
	leased    []*instance // those that have a lease
	// What was asked for last: most executions are of the same ones.
	latest      *instance
	latestPlan  store.PlanID
	latestLines *plan
	expiry      queue
	timeline    timeline
	tasks       map[string]*tasks // by queue
	added       uint64            // how many tasks there have been
	watchers    []*watcher
	alarm       *time.Timer // set while there are watchers
	stirred     bool        // the alarm is to be set anew
	closed      bool
	done        chan struct{} // closed with the store
}

var _ store.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails, as crypto/rand says
	return &Store{
		id:        "mem-" + hex.EncodeToString(id[:]),
		byKey:     make(map[store.Key]*entry),
		plans:     make(map[store.PlanID]*plan),
		instances: make(map[store.Instance]*instance),
		tasks:     make(map[string]*tasks),
		expiry:    queue{place: inExpiry},
		done:      make(chan struct{}),
	}
}

// Describe implements [store.Store].
func (s *Store) Describe() store.Info { return store.Info{ID: s.id} }

// Close implements [store.Store].
func (s *Store) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.byKey, s.plans, s.instances, s.leased = nil, nil, nil, nil
	s.latest, s.latestLines = nil, nil
	s.expiry, s.timeline, s.tasks = queue{}, timeline{}, nil
	if s.alarm != nil {
		s.alarm.Stop()
	}
	close(s.done)
	return nil
}

// Len returns how many executions are kept.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byKey)
}

// enter begins a call. Where it returns no error, [Store.leave] ends the call.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return store.ErrClosed
	}
	return nil
}

func (s *Store) leave() {
	if s.stirred {
		s.stirred = false
		s.setAlarm()
	}
	s.mu.Unlock()
}
