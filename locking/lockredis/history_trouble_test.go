package lockredis_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/lockhistory"
	"github.com/lockstep-dev/lockstep/internal/redistest"
)

// trouble makes things go wrong at random while a history is recorded.
type trouble struct {
	t     *testing.T
	rand  *rand.Rand
	noted *lockhistory.Recorder // of what excuses a turn
	every time.Duration         // about how long nothing happens in between
	kinds []kind
	count map[string]int
}

// kind is what can go wrong; do says whether it did.
type kind struct {
	name string
	do   func() bool
}

func newTrouble(t *testing.T, seed uint64, every time.Duration) *trouble {
	return &trouble{
		t: t, rand: rand.New(rand.NewPCG(seed, 0)), noted: lockhistory.NewRecorder(lockhistory.Everyone),
		every: every, count: map[string]int{},
	}
}

func (x *trouble) may(name string, do func() bool) { x.kinds = append(x.kinds, kind{name, do}) }

// make makes trouble until ctx ends, each kind in turn at first so that none is missing.
func (x *trouble) make(ctx context.Context) {
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(x.every/2 + time.Duration(x.rand.Int64N(int64(x.every)))):
		}
		k := x.kinds[n%len(x.kinds)]
		if n >= len(x.kinds) {
			k = x.kinds[x.rand.IntN(len(x.kinds))]
		}
		if k.do() {
			x.count[k.name]++
		}
	}
}

// during makes trouble while something runs.
func (x *trouble) during(ctx context.Context, run func()) {
	x.t.Helper()
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		x.make(ctx)
	}()
	run()
	stop()
	<-ended
	x.t.Logf("trouble: %s", lockhistory.Counts(x.count))
	for _, k := range x.kinds {
		if x.count[k.name] == 0 && *historyTimes >= 1 {
			x.t.Errorf("the trouble %q did not happen", k.name)
		}
	}
}

// atConnections are the troubles of the connections of processes that have a proxy each.
func (x *trouble) atConnections(server *redistest.Server, proxies []*proxy) {
	admin := server.Client()
	x.may("connection killed", func() bool {
		n := x.rand.IntN(len(proxies))
		list := proxies[n].addresses()
		if len(list) == 0 {
			return false
		}
		over := x.noted.Trouble(n, "a connection was killed")
		defer over()
		killed, err := admin.ClientKillByFilter(bg, "ADDR", list[x.rand.IntN(len(list))]).Result()
		return err == nil && killed == 1
	})
	x.may("all connections killed", func() bool {
		n := x.rand.IntN(len(proxies))
		over := x.noted.Trouble(n, "a connection was killed")
		defer over()
		killed := int64(0)
		for _, addr := range proxies[n].addresses() {
			k, _ := admin.ClientKillByFilter(bg, "ADDR", addr).Result() // it may have gone meanwhile
			killed += k
		}
		return killed > 0
	})
	x.may("replies lost", func() bool {
		n := x.rand.IntN(len(proxies))
		over := x.noted.Trouble(n, "replies were lost")
		proxies[n].dropReplies(1 + x.rand.Int32N(3))
		for until := time.Now().Add(time.Second); proxies[n].drop.Load() > 0 && time.Now().Before(until); {
			<-time.After(time.Millisecond)
		}
		lost := proxies[n].drop.Swap(0) == 0
		over()
		return lost
	})
}

// atServer are the troubles of the server itself.
func (x *trouble) atServer(server *redistest.Server) {
	x.may("server restarted", func() bool {
		over := x.noted.Trouble(lockhistory.Everyone, "the server was restarted")
		defer over()
		server.Restart()
		return true
	})
	x.may("server stopped", func() bool {
		over := x.noted.Trouble(lockhistory.Everyone, "the server was stopped")
		defer over()
		server.Pause()
		<-time.After(time.Duration(50+x.rand.IntN(500)) * time.Millisecond)
		server.Resume()
		return true
	})
}
