package locking_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// A provider that returned when its caller's context ended may still be about to send what
// it was given.
func TestWhatAReleaseWithoutAnAnswerWasGivenDoesNotChange(t *testing.T) {
	t.Parallel()
	s, p, _ := service(t)
	var given, were []driver.Hold
	p.release = func(holds []driver.Hold) error {
		given, were = holds, slices.Clone(holds)
		return errDown
	}
	unanswered, err := s.Acquire(t.Context(), locking.Keys("a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unanswered.Release(t.Context()); err == nil {
		t.Fatal("it had no answer")
	}
	p.release = nil
	for range 100 {
		l, err := s.Acquire(t.Context(), locking.Keys("b", "c"))
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(given, were) {
		t.Errorf("%+v has become %+v", were, given)
	}
}

// The lists are used again by whoever comes next.
func TestReleasesAtTheSameTimeFreeTheirOwn(t *testing.T) {
	t.Parallel()
	s, p, _ := service(t)
	p.release = func(holds []driver.Hold) error {
		for _, h := range holds[1:] {
			if h.Key[0] != holds[0].Key[0] {
				t.Errorf("freed together are %+v", holds)
			}
		}
		return nil
	}
	var all sync.WaitGroup
	for c := range 8 {
		all.Go(func() {
			first := string(rune('a' + c))
			keys := []string{first, first + "2", first + "3"}[:1+c%3]
			for range 200 {
				l, err := s.Acquire(t.Context(), keys)
				if err == nil {
					err = l.Release(t.Context())
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}
