package lockredis

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// More keys than are kept, so that many share a place.
func TestTheGroupOfAKeyIsItsOwnWhateverWasAskedForBefore(t *testing.T) {
	t.Parallel()
	l := newLayout(DefaultNamespace, true)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for n := range 4000 {
				key := fmt.Sprint("k", n%1000)
				g := l.groups([]string{key})
				if want := l.place(key); len(g) != 1 || len(g[0].at) != 1 || g[0].at[0] != 0 || len(g[0].places) != 1 || g[0].places[0] != want || g[0].hub.slot != want.slot {
					t.Errorf("%q has the group %+v", key, g)
					return
				}
			}
		})
	}
	all.Wait()
}

// A wait may be taken out for an error that is told later, when its caller has gone by
// himself, and its signal is another's.
func TestTheSignalOfAWaitWhoseCallerHasGoneStaysSilent(t *testing.T) {
	t.Parallel()
	s := newWaits("process", func(time.Time) {}, func(string) {})
	w := s.add(&ask{id: "process.1", group: &newLayout(DefaultNamespace, false).groups([]string{"k"})[0], req: &driver.Request{Keys: []string{"k"}}})
	s.mu.Lock()
	s.remove(w)
	s.mu.Unlock()
	if s.drop(w) {
		t.Fatal("it was not settled")
	}
	s.mu.Lock()
	s.answer(w, nil, errors.New("too late"))
	s.mu.Unlock()
	select {
	case <-w.done:
		t.Error("it was signalled")
	default:
	}
}

func TestASignalThatIsTakenBackIsEmpty(t *testing.T) {
	t.Parallel()
	c := make(chan struct{}, 1)
	c <- struct{}{}
	putSignal(c)
	if len(c) != 0 {
		t.Error("whoever gets it next wakes at once")
	}
}

func TestABatchIsPartedByScriptInItsOrder(t *testing.T) {
	t.Parallel()
	for _, kinds := range []string{"", "r", "a", "raa", "rra", "ara", "aarar", "aa", "rr"} {
		var batch []*share
		var want [2][]*share
		for _, kind := range kinds {
			s, n := &share{script: acquireScript}, 1
			if kind == 'r' {
				s.script, n = releaseScript, 0
			}
			batch, want[n] = append(batch, s), append(want[n], s)
		}
		releases, acquires := byScript(batch)
		if fmt.Sprint(releases) != fmt.Sprint(want[0]) || fmt.Sprint(acquires) != fmt.Sprint(want[1]) {
			t.Errorf("%q: %v and %v", kinds, releases, acquires)
		}
	}
}
