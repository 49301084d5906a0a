package locking

import (
	"context"
	"errors"
	"time"
)

// watch is what a handle needs whose user asked for its context, or to be warned.
// Most don't. Its fields are guarded by holds.mu.
type watch struct {
	ctx    context.Context //nolint:containedctx // it is what the handle hands out
	cancel context.CancelCauseFunc
	ears   []listener // one for each hold of the handle

	before time.Duration // the warning comes that long before the end
	warn   func(left time.Duration)
	silent bool // there is no warning to come
}

// listener stands in the list of a hold, for a handle to be told of its end.
type listener struct {
	watch      *watch
	hold       *hold // nil when it is not in the list
	prev, next *listener
}

// listen puts a handle's ears to its holds; it requires holds.mu.
func (w *watch) listen(lists ...[]*hold) {
	n := 0
	for _, l := range lists {
		n += len(l)
	}
	w.ears = make([]listener, 0, n) // they must not move
	for _, l := range lists {
		for _, h := range l {
			w.ears = append(w.ears, listener{watch: w})
			if h.cause == nil {
				w.ears[len(w.ears)-1].join(h)
			}
		}
	}
}

func (e *listener) join(h *hold) {
	e.hold, e.next = h, h.ears
	if h.ears != nil {
		h.ears.prev = e
	}
	h.ears = e
	if !e.watch.silent {
		h.warned++
		h.at.schedule(h)
	}
}

func (e *listener) leave() {
	if e.hold == nil {
		return
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		e.hold.ears = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	}
	e.hold, e.prev, e.next = nil, nil, nil
}

// silence takes the warning back; it requires holds.mu.
func (w *watch) silence() {
	if w.silent {
		return
	}
	w.silent = true
	for i := range w.ears {
		if h := w.ears[i].hold; h != nil {
			h.warned--
		}
	}
}

// close takes the ears from the holds; it requires holds.mu.
func (w *watch) close() {
	w.silence()
	for i := range w.ears {
		w.ears[i].leave()
	}
}

// deafen takes all listeners from a hold that has ended, and notes the contexts
// that have to be cancelled, those first: they say why. It requires holds.mu.
func (h *hold) deafen(over *cancellations) {
	for h.ears != nil {
		e := h.ears
		e.watch.silence()
		e.leave()
		if e.watch.cancel != nil {
			over.add(e.watch.cancel, h.cause)
		}
	}
	if lost := h.watcher; lost != nil {
		h.watcher = nil
		if errors.Is(h.cause, ErrLockLost) || errors.Is(h.cause, ErrLockRevoked) {
			over.add(func(error) { lost() }, h.cause)
		}
	}
}

// cancellations are contexts that have to be cancelled, once no mutex is held.
type cancellations struct{ list []cancellation }

type cancellation struct {
	cancel context.CancelCauseFunc
	cause  error
}

func (c *cancellations) add(cancel context.CancelCauseFunc, cause error) {
	c.list = append(c.list, cancellation{cancel, cause})
}

func (c *cancellations) tell() {
	for _, one := range c.list {
		one.cancel(one.cause)
	}
}

// Context ends when the context given to Acquire ends, and when the lock does.
// Its cause then is [ErrLockLost], [ErrLockRevoked], [ErrLockReleased] or
// [ErrClosed]. It is what the guarded work should run under.
//
// It ends no later than the lock could have passed to somebody else, by the
// monotonic and by the wall clock, also while the provider cannot be reached. A
// wall clock that is set forward therefore ends locks early.
func (l *Lock) Context() context.Context {
	ctx, cause := l.context()
	if ctx != nil {
		return ctx
	}
	parent := l.parent
	if parent.Err() != nil && cause != nil && !errors.Is(cause, ErrLockReleased) {
		parent = context.WithoutCancel(parent) // the lock was gone, and that says more
	}
	made, cancel := context.WithCancelCause(parent)
	hs := l.provider.holds
	hs.mu.Lock()
	w := l.watching()
	if w.ctx != nil { // somebody else was quicker
		ctx = w.ctx
		hs.mu.Unlock()
		cancel(nil)
		return ctx
	}
	w.ctx, w.cancel = made, cancel
	cause = l.ended()
	hs.mu.Unlock()
	if cause != nil {
		cancel(cause)
	}
	return made
}

// context returns the context there is, or why the lock has ended.
func (l *Lock) context() (context.Context, error) {
	l.look()
	hs := l.provider.holds
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if l.watch != nil && l.watch.ctx != nil {
		return l.watch.ctx, nil
	}
	return nil, l.ended()
}

// watching returns the watch, and makes it where there is none; it requires
// holds.mu.
func (l *Lock) watching() *watch {
	if l.watch == nil {
		l.watch = &watch{silent: true}
		if !l.finished {
			l.watch.listen(l.own, l.shared)
		}
	}
	return l.watch
}

// ended returns why the lock has ended, or nil; it requires holds.mu.
func (l *Lock) ended() error {
	for _, list := range [2][]*hold{l.own, l.shared} {
		for _, h := range list {
			if h.cause != nil {
				return h.cause
			}
		}
	}
	if l.finished {
		return ErrLockReleased
	}
	return nil
}

// look ends what is over by the clocks, whether the timer has fired or not.
func (l *Lock) look() {
	hs := l.provider.holds
	var over cancellations
	now := hs.clock.read()
	hs.mu.Lock()
	for _, list := range [2][]*hold{l.own, l.shared} {
		for _, h := range list {
			if h.cause == nil && h.over(now) {
				hs.lapse(h, now, &over)
			}
		}
	}
	hs.mu.Unlock()
	over.tell()
}
