package simulation

import "time"

// fate is what was decided, once and for all, about something that happens: a hash of
// the seed and of the particulars of that something.
type fate uint64

func newFate(seed uint64) fate { return fate(14695981039346656037).num(seed) }

// of returns the fate of something within this one.
func (f fate) of(parts ...string) fate {
	for _, p := range parts {
		for i := range len(p) {
			f = (f ^ fate(p[i])) * 1099511628211
		}
		f = (f ^ 0xff) * 1099511628211
	}
	return f
}

func (f fate) num(n uint64) fate {
	for range 8 {
		f = (f ^ fate(n&0xff)) * 1099511628211
		n >>= 8
	}
	return f
}

// roll is a number that looks random.
func (f fate) roll() uint64 {
	z := uint64(f) + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// share is from 0 to 1.
func (f fate) share() float64 { return float64(f.roll()>>11) / (1 << 53) }

// is says whether something with a probability happens.
func (f fate) is(what string, probability float64) bool {
	return probability > 0 && f.of(what).share() < probability
}

func (f fate) below(what string, n int) int { return int(f.of(what).roll() % uint64(n)) }

// between is a time from one to another, to the nanosecond.
func (f fate) between(what string, from, to time.Duration) time.Duration {
	return from + time.Duration(f.of(what).roll()%uint64(to-from+1))
}

// skewed is between, but mostly near the beginning.
func (f fate) skewed(what string, from, to time.Duration) time.Duration {
	s := f.of(what).share()
	return from + time.Duration(s*s*s*float64(to-from))
}

// pick returns one of several.
func pick[T any](f fate, what string, list ...T) T { return list[f.below(what, len(list))] }
