package lockredis_test

import (
	"cmp"
	"context"
	"flag"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/lockhistory"
	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// The histories record what callers of several processes see while much goes wrong, and
// judge whether one lock per key can have answered that: see package lockhistory. Each
// test is one kind of trouble.

var (
	historySeed  = flag.Uint64("histories.seed", 0, "the seed of the histories; 0: a new one")
	historyTimes = flag.Float64("histories.times", 1, "how many times as many operations the histories have")
)

// operations is how many a history has.
func operations(n int64) int64 { return int64(float64(n) * *historyTimes) }

// seed is the test's, and is printed: the same one makes the same choices, as far as a
// real server's times allow.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := *historySeed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("the seed is %d: -histories.seed=%d", s, s)
	return s
}

// runHistory has the providers of one server work at the same time, each as a process.
func runHistory(ctx context.Context, w lockhistory.Workload, providers []*lockredis.Provider) []*lockhistory.Recorder {
	recorders := make([]*lockhistory.Recorder, len(providers))
	var all sync.WaitGroup
	for i, p := range providers {
		recorders[i] = lockhistory.NewRecorder(i)
		all.Go(func() { w.Run(ctx, p, recorders[i]) })
	}
	all.Wait()
	return recorders
}

// together is what all of them have recorded.
func together(recorders ...*lockhistory.Recorder) (lockhistory.History, error) {
	var all []lockhistory.History
	for _, r := range recorders {
		if d := r.Clock.Jumped(); d.Abs() > clocksApart {
			return lockhistory.History{}, &clockSetError{d}
		}
		all = append(all, r.History())
	}
	return lockhistory.Together(all...), nil
}

// judge fails the test unless the history is that of a lock.
func judge(t *testing.T, h lockhistory.History, lossy bool) lockhistory.Verdict {
	t.Helper()
	v := lockhistory.Judge{Lossy: lossy, Bound: 30 * time.Second, Dir: os.TempDir()}.Check(h)
	t.Log(lockhistory.Tell(h, v))
	for i, fault := range v.Faults {
		if i == 20 {
			t.Errorf("and %d more", len(v.Faults)-i)
			break
		}
		t.Error(fault)
	}
	return v
}

func providers(t *testing.T, n int, cfg lockredis.Config) []*lockredis.Provider {
	t.Helper()
	list := make([]*lockredis.Provider, n)
	for i := range list {
		p, _, err := start(t, cfg)
		if err != nil {
			t.Fatal(err)
		}
		list[i] = p
	}
	return list
}

// rounds are the histories: each with one kind of trouble, and whether answers are lost in
// it. They answer with what was recorded.
var rounds = []struct {
	name  string
	lossy bool
	run   func(context.Context, *testing.T) (lockhistory.History, error)
}{
	{"all is well", false, allIsWell},
	{"connections are killed and replies lost", true, connectionsBreak},
	{"processes are stopped and killed", true, processesDie},
	{"the server is stopped and restarted", true, theServerRestarts},
}

// historyTime bounds a round.
const historyTime = 3 * time.Minute

// historyLeast is how many operations all rounds have together.
const historyLeast = 200_000

func TestHistoriesOfProcessesInTroubleAreThoseOfALock(t *testing.T) {
	var total, ran atomic.Int64
	t.Cleanup(func() { // when all rounds have ended
		t.Logf("%d operations in all", total.Load())
		if int(ran.Load()) == len(rounds) && *historyTimes >= 1 && total.Load() < historyLeast {
			t.Errorf("%d operations are fewer than %d", total.Load(), historyLeast)
		}
	})
	for _, round := range rounds {
		t.Run(round.name, func(t *testing.T) {
			if round.lossy { // trouble leaves the machine idle for most of the time
				t.Parallel()
			}
			h, err := recordAgain(t, func(t *testing.T) (lockhistory.History, error) {
				bound := time.Duration(float64(historyTime) * max(*historyTimes, 1))
				ctx, cancel := context.WithTimeout(t.Context(), bound)
				defer cancel()
				h, err := round.run(ctx, t)
				if ctx.Err() != nil {
					t.Errorf("it took longer than %s", bound)
				}
				return h, err
			})
			if err != nil {
				t.Skipf("skipped: %v", err)
			}
			v := judge(t, h, round.lossy)
			if !round.lossy && float64(v.Pairs) < 1000**historyTimes {
				t.Errorf("the order of waiting was judged %d times only", v.Pairs)
			}
			total.Add(int64(h.Total()))
			ran.Add(1)
		})
	}
}

func allIsWell(ctx context.Context, t *testing.T) (lockhistory.History, error) {
	t.Helper()
	server := redistest.Start(t)
	w := lockhistory.Workload{
		Seed: seed(t), Ops: operations(32_000), Workers: 24, Keys: 12, Era: 500,
		Wait: 20 * time.Second, Full: 20 * time.Second, Forever: 50,
	}
	return together(runHistory(ctx, w, providers(t, 4, lockredis.Config{RedisURL: server.URL()}))...)
}

func connectionsBreak(ctx context.Context, t *testing.T) (lockhistory.History, error) {
	t.Helper()
	server := redistest.Start(t)
	s := seed(t)
	w := lockhistory.Workload{
		Seed: s, Ops: operations(8_000), Workers: 16, Keys: 12, Era: 500,
		Wait: 5 * time.Second, Full: 3 * time.Second, Forever: 20,
	}
	var all []*lockredis.Provider
	var proxies []*proxy
	for range 4 {
		x := startProxy(t, server)
		proxies = append(proxies, x)
		all = append(all, providers(t, 1, lockredis.Config{RedisURL: x.url()})...)
	}
	x := newTrouble(t, s, 40*time.Millisecond)
	x.atConnections(server, proxies)
	var recorders []*lockhistory.Recorder
	x.during(ctx, func() { recorders = runHistory(ctx, w, all) })
	return together(append(recorders, x.noted)...)
}

func processesDie(ctx context.Context, t *testing.T) (lockhistory.History, error) {
	t.Helper()
	server := redistest.Start(t)
	s := seed(t)
	w := lockhistory.Workload{
		Seed: s, Ops: lockhistory.Never, Workers: 12, Keys: 10, Era: 500,
		Wait: 5 * time.Second, Full: 1500 * time.Millisecond,
	}
	x := newTrouble(t, s, 200*time.Millisecond) // its clock is to start before those of children that are killed
	c := &crew{t: t, server: server, order: orders{Workload: w, Apart: clocksApart}}
	for range 4 {
		c.hire()
	}
	x.atProcesses(c)
	x.during(ctx, func() { c.work(ctx, operations(30_000)) })
	h, err := c.history()
	noted, e := together(x.noted)
	return lockhistory.Together(h, noted), cmp.Or(err, e)
}

func theServerRestarts(ctx context.Context, t *testing.T) (lockhistory.History, error) {
	t.Helper()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := seed(t)
	w := lockhistory.Workload{
		Seed: s, Ops: operations(5_000), Workers: 16, Keys: 12, Era: 500,
		Wait: 5 * time.Second, Full: 3 * time.Second, Forever: 20,
	}
	all := providers(t, 4, lockredis.Config{RedisURL: server.URL()})
	x := newTrouble(t, s, 600*time.Millisecond)
	x.atServer(server)
	var recorders []*lockhistory.Recorder
	x.during(ctx, func() { recorders = runHistory(ctx, w, all) })
	return together(append(recorders, x.noted)...)
}
