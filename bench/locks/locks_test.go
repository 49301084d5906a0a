package locks_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/bench/locks"
	"github.com/lockstep-dev/lockstep/bench/server"
	"github.com/lockstep-dev/lockstep/bench/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEachCandidateExcludesAndCountsWhatItSends(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := server.Start(ctx)
	if errors.Is(err, server.ErrNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	for _, c := range locks.All() {
		t.Run(c.Name, func(t *testing.T) {
			var counter wire.Counter
			l, err := c.Open(ctx, locks.Env{Addr: s.Addr(), Wire: &counter})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			keys := []string{c.Name}
			if c.ManyKeys {
				keys = append(keys, c.Name+"2", c.Name+"3")
			}
			var inside, holds atomic.Int32
			var callers sync.WaitGroup
			for range 3 {
				callers.Go(func() {
					for range 3 {
						err := l.Hold(ctx, keys, func(uint64) {
							if n := inside.Add(1); n != 1 {
								t.Errorf("%d are inside", n)
							}
							holds.Add(1)
							inside.Add(-1)
						})
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			callers.Wait()
			if n := counter.Sent().Commands; holds.Load() != 9 || n < 18 {
				t.Errorf("%d holds with %d commands", holds.Load(), n)
			}
		})
	}
}

func TestTheNamesAreFound(t *testing.T) {
	for _, c := range locks.All() {
		if found, err := locks.Find(c.Name); found.Name != c.Name || err != nil {
			t.Errorf("%s: %v, %v", c.Name, found.Name, err)
		}
	}
	if _, err := locks.Find("none"); err == nil {
		t.Error("a name that is not there is found")
	}
}
