package lockredis_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// enqueueMany enters so many tickets for a key, each with an owner of its own.
func (r *rig) enqueueMany(n int, key, owner string) {
	r.t.Helper()
	const callers = 50
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := c; i < n; i += callers {
				if _, err := r.Enqueue(bg, driver.Ticket{
					ID:      fmt.Sprint(owner, i),
					Request: driver.Request{Keys: []string{key}, Owner: fmt.Sprint(owner, i), TTL: time.Minute},
				}); err != nil {
					r.t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func TestALiveWaiterIsServedSoonBehindThousandsOfTicketsOfADeadProcess(t *testing.T) {
	t.Parallel()
	const n = 5000
	near := newRig(t)
	gone := near.another()
	g := near.take("x", 0, "k")
	gone.enqueueMany(n, "k", "dead")
	if err := gone.Close(bg); err != nil {
		t.Fatal(err)
	}
	near.takenForDead()
	got := near.ask(driver.Request{Keys: []string{"k"}, Owner: "live", Wait: time.Minute})
	near.inLine("k", n+1)
	began := time.Now()
	near.free(g)
	near.free(granted(t, got, 6*time.Second, "the live waiter")) // three times the 2 s that are promised
	t.Logf("served after %s", time.Since(began))
	if passed := near.state("k").Waiting; passed != n {
		t.Errorf("%d of %d tickets keep their places", passed, n)
	}
}

func TestManyCallersDoNotStopEachOther(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var all sync.WaitGroup
	for c := range 64 {
		all.Go(func() {
			for range 30 {
				g, err := r.Acquire(bg, driver.Request{Keys: []string{fmt.Sprint("k", c)}, Owner: "*", Wait: driver.NoWait})
				if err != nil {
					t.Error(err)
					return
				}
				if freed, err := r.Release(bg, []driver.Hold{g.Holds[0].Hold}); err != nil || !freed[0] {
					t.Error(freed, err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("they are stuck")
	}
}
