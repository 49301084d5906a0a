package lockingtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/locking"
)

func deadlockErrorCases() []serviceCase {
	bg := context.Background()
	return []serviceCase{
		{"of two that wait for each other one is told the circle in order and the other goes on", func(t *testing.T, b *bench) {
			one, two := "one "+b.prefix, "two "+b.prefix
			first := map[string]*locking.Lock{
				one: b.take(bg, b.keys("a"), locking.WithOwner(one)),
				two: b.take(bg, b.keys("b"), locking.WithOwner(two)),
			}
			type result struct {
				owner string
				lock  *locking.Lock
				err   error
			}
			got := make(chan result, 2)
			ask := func(owner, key string) {
				lock, err := b.locks.Acquire(bg, b.keys(key), locking.WithOwner(owner), locking.Wait(bound))
				got <- result{owner, lock, err}
			}
			go ask(one, "b")
			go ask(two, "a")

			victim := <-got
			var circle *locking.DeadlockError
			if !errors.As(victim.err, &circle) || !errors.Is(victim.err, locking.ErrDeadlock) {
				t.Fatalf("%q got %v, want a deadlock", victim.owner, victim.err)
			}
			want := []locking.DeadlockEdge{{Owner: one, Key: b.key("b"), Holder: two}, {Owner: two, Key: b.key("a"), Holder: one}}
			if victim.owner == two {
				slices.Reverse(want)
			}
			if !slices.Equal(circle.Cycle, want) {
				t.Errorf("the circle is %q, want %q", circle.Cycle, want)
			}
			if text := victim.err.Error(); !strings.HasPrefix(text, "locking: ") || strings.Contains(text, "driver") {
				t.Errorf("the error reads %q", text)
			}
			b.release(first[victim.owner])
			other := <-got
			b.want(other.err, nil)
			b.release(other.lock)
			b.release(first[other.owner])
		}},
	}
}
