package lockredis_test

import (
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
)

// circleTrips is how many round trips, one after the other, it takes to find a circle of
// three over slots, from the tick on: to look at what is waited for, to publish the wait,
// to follow the way three waits far with two for each, to look again, and to tell the
// victim's process. That one follows the way as well, and tells the server of the end.
const circleTrips = 2*(1+6+1) + 4

// pace is how long servers take to answer: where others keep the processors busy everything
// takes longer that goes through many hands.
type pace struct {
	mu    sync.Mutex
	trips []trip
}

type trip struct{ began, ended time.Time }

// startPace asks each server in turn until the test is over.
func startPace(t *testing.T, servers []*redistest.Server) *pace {
	t.Helper()
	p, stop, ended := &pace{}, make(chan struct{}), make(chan struct{})
	var clients []*redis.Client
	for _, s := range servers {
		clients = append(clients, s.Client())
	}
	go func() {
		defer close(ended)
		between := time.NewTicker(5 * time.Millisecond)
		defer between.Stop()
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-between.C:
			}
			began := time.Now()
			if clients[n%len(clients)].Ping(bg).Err() == nil {
				p.add(trip{began, time.Now()})
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-ended
	})
	return p
}

func (p *pace) add(t trip) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trips = append(p.trips, t)
}

// mean is how long a round trip took of those that ended between two moments.
func (p *pace) mean(from, to time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var sum time.Duration
	n := 0
	for _, t := range p.trips {
		if t.ended.After(from) && t.began.Before(to) {
			sum += t.ended.Sub(t.began)
			n++
		}
	}
	return sum / time.Duration(max(n, 1))
}
