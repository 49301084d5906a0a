package locking

import "time"

// warnAt is when the next of the hold's handles is to be warned, or zero. An offer
// is about to become a full hold; its end is of interest only when that failed. It
// requires holds.mu.
func (h *hold) warnAt() instant {
	if h.warned == 0 || h.until.never() || h.offer && !h.failed {
		return 0
	}
	var first instant
	for e := h.ears; e != nil; e = e.next {
		if !e.watch.silent {
			first = earliest(first, max(h.until.mono.add(-e.watch.before), 1))
		}
	}
	return first
}

// warn calls, beside the callers, the warnings of a hold that are due; it requires
// mu.
func (hs *holds) warn(h *hold, now reading) {
	if at := h.warnAt(); at == 0 || at > now.mono {
		return
	}
	left := h.until.mono.sub(now.mono)
	for e := h.ears; e != nil; e = e.next {
		if w := e.watch; !w.silent && left <= w.before {
			w.silence()
			hs.spawn(func() { w.warn(left) })
		}
	}
}

// warnBefore registers the warning of a new handle.
func (l *Lock) warnBefore(before time.Duration, warn func(time.Duration)) {
	hs := l.provider.holds
	hs.mu.Lock()
	defer hs.mu.Unlock()
	l.watch = &watch{before: before, warn: warn}
	l.watch.listen(l.own, l.shared)
}
