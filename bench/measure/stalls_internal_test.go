package measure

import (
	"testing"
	"time"
)

func TestAStallIsAGapOfAMillisecondOrLonger(t *testing.T) {
	t.Parallel()
	at := []int{5000, 5001, 5999, 7000, 7999, 11999, 12000, 15000, 15001}
	n := -1
	got := watchStalls(10*time.Millisecond, func() time.Duration {
		n++
		return time.Duration(at[n]) * time.Microsecond
	})
	if want := (Stalls{Watched: 10 * time.Millisecond, Count: 3, Longest: 4 * time.Millisecond}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestStallsOfSeveralTimesAreCountedOverAllThatWasWatched(t *testing.T) {
	t.Parallel()
	s := Stalls{}
	if s.PerSecond() != 0 {
		t.Error("of nothing there is none")
	}
	s.Add(Stalls{Watched: time.Second, Count: 5, Longest: 3 * time.Millisecond})
	s.Add(Stalls{Watched: time.Second, Count: 1, Longest: 2 * time.Millisecond})
	if s.PerSecond() != 3 || s.Longest != 3*time.Millisecond {
		t.Errorf("got %+v, %v/s", s, s.PerSecond())
	}
}

func TestTheClockIsWatchedForAsLongAsIsAskedFor(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	s := WatchStalls(5 * time.Millisecond)
	if took := time.Since(begun); s.Watched < 5*time.Millisecond || s.Watched > took {
		t.Errorf("watched for %s of %s", s.Watched, took)
	}
}
