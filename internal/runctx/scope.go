package runctx

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// ErrScopeEnded is returned to an attempt that takes a lock after it has ended:
// nothing would give that lock back.
var ErrScopeEnded = errors.New("runctx: the attempt that asks for the lock has ended")

// LockID names a lock: a key at a provider.
type LockID struct{ Provider, Key string }

// HoldRecord is what a store keeps of a hold.
type HoldRecord struct {
	LockID
	Owner          string
	Epoch, Attempt uint64
	Token          uint64
}

// Hold is a lock that a scope keeps. Package locking implements it.
type Hold interface {
	Record() HoldRecord
	// Alive is false once the hold is known to be lost, revoked or freed.
	Alive() bool
	// Final says of a hold that is not alive that its lock is not to be taken again by
	// itself: somebody took it by force, or it was held as long as it may be.
	Final() bool
	// Watch has a function called when the hold is lost or revoked, at once where it is
	// already: not when it is freed. It is called once, and must not block.
	Watch(lost func())
	// Free gives the lock back. It answers false when there was nothing left to
	// give back, and may be called again after an error.
	Free(ctx context.Context) (bool, error)
	// Abandon stops renewing the lock and forgets it, without giving it back: it
	// passes on when its lease has lapsed, not before. Its contexts end at once, and
	// Free has nothing to give back any more. It does no I/O.
	Abandon()
}

// BatchFreer is a [Hold] that gives back others of its provider together with
// itself, in one call.
type BatchFreer interface {
	Hold
	// FreeBatch is [Hold].Free for each hold of the list, all of which are of this
	// hold's provider. It answers for each in turn; an error means that nothing is
	// known of any of them.
	FreeBatch(ctx context.Context, list []Hold) ([]bool, error)
}

// FreeAll gives holds back, with one call for those of a provider where that can
// be. It answers for each in turn whether it was given back, and with which error.
func FreeAll(ctx context.Context, list []Hold) (freed []bool, errs []error) {
	freed, errs = make([]bool, len(list)), make([]error, len(list))
	var order []string
	places := make(map[string][]int) // in the list, by provider
	for i, h := range list {
		if _, ok := h.(BatchFreer); !ok {
			freed[i], errs[i] = h.Free(ctx)
			continue
		}
		id := h.Record().Provider
		if places[id] == nil {
			order = append(order, id)
		}
		places[id] = append(places[id], i)
	}
	for _, id := range order {
		batch := make([]Hold, len(places[id]))
		for j, i := range places[id] {
			batch[j] = list[i]
		}
		first, _ := batch[0].(BatchFreer)
		answers, err := first.FreeBatch(ctx, batch)
		for j, i := range places[id] {
			if errs[i] = err; err == nil {
				freed[i] = answers[j]
			}
		}
	}
	return freed, errs
}

// Scope is an owner of locks within an execution. Scopes form a tree: the root
// is the workflow's own sequence, below it stand the attempts of its steps, and
// below those whatever an attempt divides itself into.
//
// Invariants:
//  1. A lock is kept by at most one scope of an execution at a time.
//  2. A scope that asks for what an enclosing scope keeps shares that hold and
//     never frees it; the exception is a later attempt of the same owner, which
//     takes the hold over, so that the earlier attempt can do nothing with it.
//  3. What an attempt does not release is kept by the sequence around it once it
//     has ended. An attempt that has ended keeps nothing any more.
//  4. What the sequence had before a series of attempts stays with it whatever
//     those attempts do, other than release it.
//
// A Scope may be used concurrently.
type Scope struct {
	tree     *tree
	parent   *Scope // nil for the root sequence
	owner    string // empty for the root sequence: see Owner
	epoch    uint64
	attempt  uint64
	sequence bool
	ended    bool
	children []*Scope
	kept     map[LockID]keeping
	body     *Scope // the attempt that this scope is, or is a part of

	// Of an attempt:
	inside   map[LockID]struct{} // locks that its body believes to have
	returned bool                // its body runs no more
}

// keeping is a hold with the ordinal of the first of its owner's attempts that
// had the lock: a later one that takes it over has not brought it in.
type keeping struct {
	hold  Hold
	since uint64
}

// tree is what the scopes of one execution share.
type tree struct {
	mu     sync.Mutex
	store  string
	run    string
	lease  time.Duration
	bodies []*Scope // attempts whose bodies were left behind, and still run
	taken  bool     // a lock was taken once
}

// OwnerPrefix begins the lock owner of everything an execution takes. No user's
// owner id may begin with it.
const OwnerPrefix = "lockstep:"

// Root is the memory of the scope of an execution's outermost sequence.
type Root struct {
	scope Scope
	tree  tree
}

// Init makes the scope in a zero Root. The lease is the time that a lock of the
// execution outlives its last renewal.
func (r *Root) Init(storeID, runUID string, epoch uint64, lease time.Duration) *Scope {
	r.tree.store, r.tree.run, r.tree.lease = storeID, runUID, lease
	r.scope.tree, r.scope.epoch, r.scope.sequence = &r.tree, epoch, true
	return &r.scope
}

// NewRoot is [Root.Init] of a new one.
func NewRoot(storeID, runUID string, epoch uint64, lease time.Duration) *Scope {
	return new(Root).Init(storeID, runUID, epoch, lease)
}

// owner returns an owner of the execution. Most executions take no lock, and need none.
func (t *tree) owner(name string) string {
	return OwnerPrefix + escape(t.store) + ":" + escape(t.run) + ":" + escape(name)
}

var escaper = strings.NewReplacer("%", "%25", ":", "%3A", "/", "%2F")

// escape keeps the parts of an owner apart whatever bytes they hold.
func escape(part string) string { return escaper.Replace(part) }

// Attempt opens the scope of one attempt of a step of this sequence. The
// attempts of a step count upwards over invoke and compensate together, since
// each must be able to take over from the one before.
func (s *Scope) Attempt(step string, number uint64) *Scope {
	attempt := s.open(s.tree.owner(step), number)
	attempt.body = attempt
	return attempt
}

// Child opens a scope of its own within an attempt: two children exclude each
// other on every key that no scope around both of them keeps.
func (s *Scope) Child(name string) *Scope {
	return s.open(s.Owner()+"/"+escape(name), s.attempt)
}

// Sequence opens the scope of a sequence within this one: a branch, or an item of a
// loop. What its attempts do not release stays with it, and passes on when it ends.
func (s *Scope) Sequence(name string) *Scope {
	child := s.open(s.tree.owner(name), 0)
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	child.sequence = true
	return child
}

// Guard opens the scope of a guard in this sequence. What it keeps is shared by all
// that is opened within it, and freed by none of that.
func (s *Scope) Guard(name string, attempt uint64) *Scope {
	return s.open(s.tree.owner(name), attempt)
}

// Rise gives the scope of a guard a later generation.
func (s *Scope) Rise(attempt uint64) {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	s.attempt = max(s.attempt, attempt)
}

// Enclosing returns the owners of what the scopes around this one keep.
func (s *Scope) Enclosing() []string {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	var owners []string
	for at := s.parent; at != nil; at = at.parent {
		for _, k := range at.kept {
			owners = append(owners, k.hold.Record().Owner)
		}
	}
	return owners
}

// Inside returns the owners of what the scopes within this one keep.
func (s *Scope) Inside() []string {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	return s.inner(nil)
}

// inner requires the tree's lock.
func (s *Scope) inner(owners []string) []string {
	for _, c := range s.children {
		for _, k := range c.kept {
			owners = append(owners, k.hold.Record().Owner)
		}
		owners = c.inner(owners)
	}
	return owners
}

// Quiet says that no lock was ever taken in the execution.
func (s *Scope) Quiet() bool {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	return !s.tree.taken
}

func (s *Scope) open(owner string, attempt uint64) *Scope {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	child := &Scope{tree: s.tree, parent: s, owner: owner, epoch: s.epoch, attempt: attempt, body: s.body, ended: s.ended}
	s.children = append(s.children, child)
	return child
}

// Owner is the owner under which the scope takes locks.
func (s *Scope) Owner() string {
	if s.parent == nil {
		return s.tree.owner("")
	}
	return s.owner
}

// Generation orders this scope among those with the same owner.
func (s *Scope) Generation() (epoch, attempt uint64) {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	return s.epoch, s.attempt
}

// Lease is the lock lease of the execution.
func (s *Scope) Lease() time.Duration { return s.tree.lease }

// Ended says that the scope's attempt is over.
func (s *Scope) Ended() bool {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	return s.ended
}

// Shared returns the live hold on the lock that the nearest enclosing scope
// keeps, for this scope to share.
func (s *Scope) Shared(id LockID) (Hold, bool) {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	for at := s.parent; at != nil; at = at.parent {
		k, ok := at.kept[id]
		if !ok {
			continue
		}
		shared := k.hold.Alive() && k.hold.Record().Owner != s.Owner()
		if shared && !s.ended {
			s.body.enter(id)
		}
		return k.hold, shared
	}
	return nil, false
}

// Releasable returns the hold on the lock that this scope may free by the
// lock's name: its own, or one its sequence has from an earlier step.
func (s *Scope) Releasable(id LockID) (Hold, bool) {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	for at := s; at != nil; at = at.parent {
		if k, ok := at.kept[id]; ok {
			return k.hold, true
		}
		if at.sequence {
			break
		}
	}
	return nil, false
}

// ReleasableAll returns every hold that [Scope.Releasable] would return.
func (s *Scope) ReleasableAll() []Hold {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	var all []Hold
	for at := s; at != nil; at = at.parent {
		for _, k := range at.kept {
			all = append(all, k.hold)
		}
		if at.sequence {
			break
		}
	}
	return all
}

// Keep makes the scope the keeper of a hold it took. What an enclosing scope
// keeps under the same name is superseded. It returns [ErrScopeEnded], and keeps
// nothing, when the attempt is over.
func (s *Scope) Keep(h Hold) error {
	id := h.Record().LockID
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	if s.ended {
		return ErrScopeEnded
	}
	since := s.attempt
	for at := s; at != nil; at = at.parent {
		if k, ok := at.kept[id]; ok && k.hold.Record().Owner == s.Owner() {
			since = min(since, k.since)
		}
		delete(at.kept, id)
	}
	s.keep(id, keeping{h, since})
	s.body.enter(id)
	return nil
}

// keep requires the tree's lock.
func (s *Scope) keep(id LockID, k keeping) {
	if s.kept == nil {
		s.kept = make(map[LockID]keeping)
	}
	s.kept[id] = k
	s.tree.taken = true
}

// Forget makes every scope from this one outwards stop keeping the hold, which
// was released.
func (s *Scope) Forget(h Hold) {
	id := h.Record().LockID
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	for at := s; at != nil; at = at.parent {
		if at.kept[id].hold == h {
			delete(at.kept, id)
			s.tree.passOn(id)
			s.body.exit(id)
		}
	}
}

// Drop makes the scope stop keeping a hold that was lost, or that is given back for it.
// Bodies that were left behind believe to have it as before.
func (s *Scope) Drop(h Hold) {
	id := h.Record().LockID
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	if s.kept[id].hold == h {
		delete(s.kept, id)
	}
}

// End closes an attempt's scope, its children with it, and hands what they kept
// to the sequence around it.
func (s *Scope) End() {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	s.handOver()
}

// Pause is End for an attempt whose step waits for its next one. It returns what
// all attempts of the step from the ordinal first on have taken, for the caller
// to give back meanwhile. What the sequence had before them it keeps, also where
// one of them took it over.
func (s *Scope) Pause(first uint64) []Hold {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	outer := s.handOver()
	var back []Hold
	for id, k := range outer.kept {
		owner := k.hold.Record().Owner
		if k.since >= first && (owner == s.owner || strings.HasPrefix(owner, s.owner+"/")) {
			back = append(back, k.hold)
			delete(outer.kept, id)
		}
	}
	return back
}

// handOver requires the tree's lock. It returns the sequence around the scope,
// which has what was kept.
func (s *Scope) handOver() *Scope {
	left := s.end(nil)
	s.detach()
	outer := s.parent
	for !outer.sequence {
		outer = outer.parent
	}
	for _, k := range left {
		outer.keep(k.hold.Record().LockID, k)
	}
	return outer
}

// Surrender closes the scope, its children with it, and returns what they kept,
// for the caller to free.
func (s *Scope) Surrender() []Hold {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	left := s.end(nil)
	s.detach()
	holds := make([]Hold, len(left))
	for i, k := range left {
		holds[i] = k.hold
	}
	return holds
}

func (s *Scope) detach() {
	if s.parent == nil {
		return
	}
	for i, c := range s.parent.children {
		if c == s {
			s.parent.children = append(s.parent.children[:i], s.parent.children[i+1:]...)
			return
		}
	}
}

// end requires the tree's lock.
func (s *Scope) end(left []keeping) []keeping {
	s.ended = true
	for _, c := range s.children {
		left = c.end(left)
	}
	for _, k := range s.kept {
		left = append(left, k)
	}
	s.kept, s.children = nil, nil
	return left
}

// Records lists what the scope itself keeps and still has.
func (s *Scope) Records() []HoldRecord {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	var records []HoldRecord
	for _, k := range s.kept {
		if k.hold.Alive() {
			records = append(records, k.hold.Record())
		}
	}
	return records
}

type scopeKey struct{}

// WithScope returns a context whose locks belong to the scope.
func WithScope(ctx context.Context, s *Scope) context.Context {
	return context.WithValue(ctx, scopeKey{}, s)
}

// ScopeFrom returns the scope the context's locks belong to, or nil outside
// executions.
func ScopeFrom(ctx context.Context) *Scope {
	s, _ := ctx.Value(scopeKey{}).(*Scope)
	return s
}
