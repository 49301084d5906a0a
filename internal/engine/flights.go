package engine

import "github.com/lockstep-dev/lockstep/store"

// fewFlights is up to how many flights are found by looking at each.
const fewFlights = 8

// flights are an execution's attempts in flight, at most one at a place. Most executions
// have one at a time.
type flights struct {
	few  []*flight
	many map[store.Place]*flight // has all, once there were more than few
	room [1]*flight

	first flight  // memory for the first of them
	used  bool    // first is
	spare *flight // one that was, and that nobody has any more
}

// fresh returns memory for a flight. Whoever has it still must not use it.
func (l *flights) fresh() *flight {
	switch f := l.spare; {
	case f != nil:
		l.spare = nil
		return f
	case !l.used:
		l.used = true
		return &l.first
	}
	return &flight{}
}

// landed takes the memory of a flight whose end has been handled, unless a timer may
// have it still.
func (l *flights) landed(f *flight) {
	if f.timeout == nil && f.grace == nil {
		*f = flight{}
		l.spare = f
	}
}

func (l *flights) at(place store.Place) *flight {
	for _, f := range l.few {
		if f.start.Place == place {
			return f
		}
	}
	return l.many[place]
}

// add puts a flight in the place of the one that was there.
func (l *flights) add(f *flight) {
	place := f.start.Place
	for i, old := range l.few {
		if old.start.Place == place {
			l.few[i] = f
			return
		}
	}
	switch {
	case l.many != nil:
		l.many[place] = f
	case len(l.few) == fewFlights:
		l.many = make(map[store.Place]*flight, 4*fewFlights)
		for _, old := range l.few {
			l.many[old.start.Place] = old
		}
		l.many[place], l.few = f, nil
	case l.few == nil:
		l.few = append(l.room[:0], f)
	default:
		l.few = append(l.few, f)
	}
}

// remove does nothing when another flight has taken the place.
func (l *flights) remove(f *flight) {
	for i, other := range l.few {
		if other == f {
			last := len(l.few) - 1
			l.few[i], l.few[last] = l.few[last], nil
			l.few = l.few[:last]
			return
		}
	}
	if l.many[f.start.Place] == f {
		delete(l.many, f.start.Place)
	}
}

func (l *flights) any() bool { return len(l.few)+len(l.many) > 0 }

// all calls yield for each flight, in no order.
func (l *flights) all(yield func(*flight) bool) {
	for _, f := range l.few {
		if !yield(f) {
			return
		}
	}
	for _, f := range l.many {
		if !yield(f) {
			return
		}
	}
}
