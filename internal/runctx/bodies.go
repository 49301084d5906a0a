package runctx

import "slices"

// LeaveBehind says that the attempt is over although its body runs. What the body
// took or shares counts as [Scope.Occupied] until it returns.
func (s *Scope) LeaveBehind() {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	if !s.returned {
		s.tree.bodies = append(s.tree.bodies, s)
	}
}

// Returned says that the attempt's body runs no more.
func (s *Scope) Returned() {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	s.returned = true
	s.tree.bodies = slices.DeleteFunc(s.tree.bodies, func(b *Scope) bool { return b == s })
}

// Occupied says that a body runs which was left behind and believes to have the
// lock, also where a later attempt has taken it over. Such a lock is not to be
// given back: it has to lapse.
func (s *Scope) Occupied(h Hold) bool {
	id := h.Record().LockID
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	return slices.ContainsFunc(s.tree.bodies, func(b *Scope) bool {
		_, in := b.inside[id]
		return in
	})
}

// enter notes that the body has the lock. It requires the tree's lock. The root
// sequence has no body.
func (s *Scope) enter(id LockID) {
	if s == nil {
		return
	}
	if s.inside == nil {
		s.inside = make(map[LockID]struct{})
	}
	s.inside[id] = struct{}{}
}

// exit notes that the body does without the lock. It requires the tree's lock.
func (s *Scope) exit(id LockID) {
	if s != nil {
		delete(s.inside, id)
	}
}

// passOn notes that a step's own release has handed the lock on, which leaves
// nothing to keep for bodies that were left behind. It requires the tree's lock.
func (t *tree) passOn(id LockID) {
	for _, b := range t.bodies {
		b.exit(id)
	}
}
