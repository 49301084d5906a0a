package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/store"
)

// ErrUnfit is the error of whoever sends an execution what it cannot make use of.
var ErrUnfit = errors.New("workflow: the execution has no use for it")

// lookIntoInbox is mail: something may have been stored that nobody told of.
type lookIntoInbox struct{}

func (lookIntoInbox) handle(r *Run) error {
	list, err := r.e.cfg.Store.Inbox(r.e.past, r.key)
	if err != nil {
		r.e.cfg.Logger.Warn("workflow: could not look into an execution's inbox; it is looked at again", "execution", r.key.String(), "error", err)
		return nil
	}
	for _, m := range list {
		r.enter(m)
	}
	return r.readInbox()
}

// sent is mail: a message of this engine's is stored. The store has it as long as it
// was not consumed, which it may have been by now.
type sent struct{ id string }

func (m sent) handle(r *Run) error {
	if !r.e.senders.waits(m.id) {
		return nil
	}
	err := lookIntoInbox{}.handle(r)
	r.e.senders.tell(m.id, err) // nil: it waits for its time
	return err
}

func (m sent) tooLate(r *Run) {
	switch {
	case r.over && r.err == nil:
		r.e.senders.tell(m.id, fmt.Errorf("%w: %s has ended", ErrUnfit, r.key))
	case errors.Is(r.err, errRests): // whoever claims it now finds the message
		time.AfterFunc(lookAgain, func() { r.e.senders.tell(m.id, nil) })
	default: // so does whoever goes on with it when this engine does not
		r.e.senders.tell(m.id, nil)
	}
}

// senders are those who want to know what has become of their messages. Whoever
// consumes a message tells them, by whichever way it came.
type senders struct {
	mu   sync.Mutex
	byID map[string]chan<- error
}

// expect returns a channel that takes one answer.
func (s *senders) expect(id string) <-chan error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil {
		s.byID = make(map[string]chan<- error)
	}
	answer := make(chan error, 1)
	s.byID[id] = answer
	return answer
}

func (s *senders) waits(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id] != nil
}

// tell answers once.
func (s *senders) tell(id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if answer := s.byID[id]; answer != nil {
		answer <- err
		delete(s.byID, id)
	}
}

func (s *senders) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, id)
}

// enter answers false for a message that is there already.
func (r *Run) enter(m store.Message) bool {
	same := func(other store.Message) bool { return other.ID == m.ID }
	if slices.ContainsFunc(r.inbox, same) || slices.Contains(r.read, m.ID) {
		return false
	}
	r.inbox = append(r.inbox, m)
	return true
}

// readInbox consumes the messages whose time has come.
func (r *Run) readInbox() error {
	for i := 0; i < len(r.inbox); {
		m := r.inbox[i]
		ev, err := store.DecodeEvent(m.Data)
		if err != nil {
			return fmt.Errorf("workflow: message %q of %s: %w", m.ID, r.key, err)
		}
		commands, err := r.decide(machine.Delivered{Event: ev}, time.Now())
		switch {
		case errors.Is(err, machine.ErrEarly):
			i++
			continue
		case errors.Is(err, machine.ErrMisfit):
			r.consume(i)
			r.e.senders.tell(m.ID, fmt.Errorf("%w: %s is %s", ErrUnfit, r.key, r.s.State))
			continue
		case err != nil:
			return err
		}
		r.consume(i)
		if err := r.recordQuietly(commands); err != nil {
			return err
		}
		r.e.senders.tell(m.ID, nil)
		if r.over {
			return nil
		}
		i = 0 // what was early may be due now
	}
	r.doze()
	return nil
}

func (r *Run) consume(i int) {
	r.read = append(r.read, r.inbox[i].ID)
	r.inbox = slices.Delete(r.inbox, i, i+1)
}

// recordQuietly is record for one of several messages.
func (r *Run) recordQuietly(commands []machine.Command) error {
	inbox := r.inbox
	r.inbox, r.reading = nil, true
	err := r.record(commands)
	r.inbox, r.reading = append(inbox, r.inbox...), false
	return err
}

// Send stores a message for an execution, and has whoever drives it handle it. When
// that is this engine, the answer says whether it was of use; for one that was resting, if
// that is known within lookAgain. Else the message is stored, and nil says no more.
func (e *Engine) Send(ctx context.Context, key store.Key, ev store.Event) error {
	free := e.Find(key) != nil // or will be, if it is not here any more when the message is stored
	if !free {
		var err error
		if free, err = e.useful(ctx, key, ev); err != nil {
			return err
		}
	}
	u := uuid.NewString()
	answer := e.senders.expect(u) // who consumes it may be quicker than its storing is told
	defer e.senders.forget(u)
	m := store.Message{ID: u, Data: ev.Encode(nil)}
	if err := e.cfg.Store.Deliver(ctx, key, m); err != nil {
		return fmt.Errorf("workflow: send %s to %s: %w", ev.Kind, key, err)
	}
	r := e.Find(key)
	switch {
	case r != nil:
		r.post(sent{u})
	case free: // the message wakes it, here or elsewhere
		e.wanted(key)
		e.lookForWork()
		elsewhere := time.AfterFunc(lookAgain, func() { e.senders.tell(u, nil) })
		defer elsewhere.Stop()
	default:
		select {
		case err := <-answer: // somebody here was quicker
			return err
		default:
			return nil
		}
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// useful says whether a message can be of use that another engine, or nobody, handles:
// it would stay with an execution that has finished. It says whether that rests, too.
func (e *Engine) useful(ctx context.Context, key store.Key, ev store.Event) (resting bool, err error) {
	x, err := e.cfg.Store.Load(ctx, key)
	if err != nil {
		return false, fmt.Errorf("workflow: send %s to %s: %w", ev.Kind, key, err)
	}
	useful := !x.State.Finished()
	if ev.Kind == store.Resume {
		useful = x.State == store.Failed
	}
	if !useful {
		return false, fmt.Errorf("%w: %s is %s", ErrUnfit, key, x.State)
	}
	return restsInStore(x), nil
}

// deliver is Send for errands: the same id is delivered once.
func (e *Engine) deliver(ctx context.Context, key store.Key, id string, ev store.Event) error {
	m := store.Message{ID: id, Data: ev.Encode(nil)}
	if err := e.cfg.Store.Deliver(ctx, key, m); err != nil {
		return err
	}
	if r := e.Find(key); r != nil {
		r.post(lookIntoInbox{})
	}
	return nil
}
