package storesqlite

import (
	"context"

	"github.com/lockstep-dev/lockstep/store"
)

// Deliver implements [store.Store].
func (s *Store) Deliver(ctx context.Context, key store.Key, m store.Message) error {
	return s.do(ctx, func(w *writer) error {
		e, err := w.find(key)
		switch {
		case err != nil:
			return err
		case e == nil:
			return store.ErrNotFound
		}
		return w.deliver(e, m)
	})
}

// deliver adds a message, unless it is there, and has the execution claimed for it where
// nobody drives it.
func (w *writer) deliver(e *entry, m store.Message) error {
	before := e.messages
	if err := w.addTo(e, m); err != nil || e.messages == before {
		return err
	}
	if e.owner.drives() {
		w.note(notice{Notice: store.Notice{Message: e.Key}, only: e.owner.Instance})
		return nil
	}
	ready, later := e.ready, e.later
	w.settle(e)
	if e.ready.Equal(ready) && e.later == later {
		return nil
	}
	return w.save(e)
}

// addTo adds a message, unless there is one with its ID.
func (w *writer) addTo(e *entry, m store.Message) error {
	added, err := w.conn.exec(addMessage, e.seq, m.ID, e.lastMessage+1, bytesValue(m.Data))
	if err != nil {
		return err
	}
	e.messages += added
	e.lastMessage += added
	return nil
}

// consume rids the inbox of messages, as far as they are there.
func (w *writer) consume(e *entry, ids []string) error {
	for _, id := range ids {
		if e.messages == 0 {
			return nil
		}
		gone, err := w.conn.exec(deleteMessage, e.seq, id)
		if err != nil {
			return err
		}
		e.messages -= gone
	}
	return nil
}

func (w *writer) hasMessage(e *entry, id string) (bool, error) {
	list, err := w.numbers(hasMessage, e.seq, id)
	return len(list) > 0, err
}
