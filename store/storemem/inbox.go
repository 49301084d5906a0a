package storemem

import (
	"context"
	"slices"

	"github.com/lockstep-dev/lockstep/store"
)

// inbox has the messages of an execution, in the order in which they came.
type inbox struct {
	list []store.Message
	ids  map[string]struct{} // nil while there are few
}

func (b *inbox) has(id string) bool {
	if b.ids != nil {
		_, ok := b.ids[id]
		return ok
	}
	return slices.ContainsFunc(b.list, func(m store.Message) bool { return m.ID == id })
}

// add answers false when there is a message with the ID.
func (b *inbox) add(m store.Message) bool {
	if b.has(m.ID) {
		return false
	}
	b.list = append(b.list, m)
	switch {
	case b.ids != nil:
		b.ids[m.ID] = struct{}{}
	case len(b.list) > few:
		b.ids = make(map[string]struct{}, 4*few)
		for i := range b.list {
			b.ids[b.list[i].ID] = struct{}{}
		}
	}
	return true
}

// remove rids the inbox of messages, as far as they are there.
func (b *inbox) remove(ids []string) {
	if len(ids) == 0 || len(b.list) == 0 {
		return
	}
	gone := func(id string) bool { return slices.Contains(ids, id) }
	if len(ids) > few {
		set := make(map[string]struct{}, len(ids))
		for _, id := range ids {
			set[id] = struct{}{}
		}
		gone = func(id string) bool { _, ok := set[id]; return ok }
	}
	b.list = slices.DeleteFunc(b.list, func(m store.Message) bool { return gone(m.ID) })
	for _, id := range ids {
		delete(b.ids, id)
	}
	if len(b.list) == 0 {
		*b = inbox{}
	}
}

// Deliver implements [store.Store].
func (s *Store) Deliver(ctx context.Context, key store.Key, m store.Message) error {
	var c copier
	c.expect(m.Data)
	m.Data = c.copy(m.Data)
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	e := s.find(key)
	if e == nil {
		return store.ErrNotFound
	}
	s.deliver(e, m)
	return nil
}

// deliver adds a message, which is a copy, unless it is there.
func (s *Store) deliver(e *entry, m store.Message) {
	if !e.inbox.add(m) {
		return
	}
	s.settle(e)
	if e.owner.drives() {
		s.tellMessage(e.owner, e.Key)
	}
}

// Inbox implements [store.Store].
func (s *Store) Inbox(ctx context.Context, key store.Key) ([]store.Message, error) {
	x, err := s.read(ctx, key, func(e *entry) store.Snapshot { return store.Snapshot{Inbox: slices.Clone(e.inbox.list)} })
	if err != nil {
		return nil, err
	}
	return x.Inbox, nil
}

// Load implements [store.Store].
func (s *Store) Load(ctx context.Context, key store.Key) (*store.Snapshot, error) {
	return s.read(ctx, key, (*entry).view)
}

// read returns what is seen of an execution.
func (s *Store) read(ctx context.Context, key store.Key, see func(*entry) store.Snapshot) (*store.Snapshot, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	e := s.find(key)
	if e == nil {
		s.leave()
		return nil, store.ErrNotFound
	}
	x := see(e)
	s.leave()
	own(&x)
	return &x, nil
}

// Unread implements [store.Store].
func (s *Store) Unread(ctx context.Context, i store.Instance) ([]store.Key, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	at, ok := s.instances[i]
	if !ok {
		return nil, nil
	}
	var keys []store.Key
	for e := at.unread.first; e != nil; e = e.next {
		keys = append(keys, e.Key)
	}
	return keys, nil
}
