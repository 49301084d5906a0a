package measure

import "time"

// Stalls are the gaps in which a goroutine was not run that does nothing but read the
// clock. While nothing else runs they are the machine's own: its kernel's, and those of
// whatever shares its cores. A wait that falls into one is longer by it, whatever was
// waited for.
type Stalls struct {
	Watched time.Duration
	Count   int
	Longest time.Duration
}

// StallLeast is how long a gap is at least that counts.
const StallLeast = time.Millisecond

// WatchStalls reads the clock for so long. It takes a core for itself.
func WatchStalls(window time.Duration) Stalls {
	start := time.Now()
	return watchStalls(window, func() time.Duration { return time.Since(start) })
}

func watchStalls(window time.Duration, clock func() time.Duration) (s Stalls) {
	begun := clock()
	for last := begun; s.Watched < window; {
		now := clock()
		if gap := now - last; gap >= StallLeast {
			s.Count++
			s.Longest = max(s.Longest, gap)
		}
		last, s.Watched = now, now-begun
	}
	return s
}

// Add adds what was watched at another time.
func (s *Stalls) Add(other Stalls) {
	s.Watched += other.Watched
	s.Count += other.Count
	s.Longest = max(s.Longest, other.Longest)
}

// PerSecond is how many there were in a second, or zero where nothing was watched.
func (s *Stalls) PerSecond() float64 {
	if s.Watched == 0 {
		return 0
	}
	return float64(s.Count) / s.Watched.Seconds()
}
