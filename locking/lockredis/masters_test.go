package lockredis_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// looked waits until a server was asked twice who it is.
func looked(t *testing.T, s *redistest.Server) {
	t.Helper()
	client, before := s.Client(), ""
	calls := func() string {
		for line := range strings.Lines(client.Info(bg, "commandstats").Val()) {
			if strings.HasPrefix(line, "cmdstat_evalsha:") {
				return line
			}
		}
		return ""
	}
	for range 2 {
		before = calls()
		redistest.Eventually(t, 10*time.Second, func() string {
			if now := calls(); now == before {
				return now
			}
			return ""
		})
	}
}

// questions counts how often each node is asked who it is.
type questions struct {
	mu sync.Mutex
	at map[string]int
}

func (l *questions) of(node *redis.Client) {
	node.AddHook(&looksAt{looks: l, node: node.Options().Addr})
}

func (l *questions) total() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, times := range l.at {
		n += times
	}
	return n
}

func (l *questions) times(s *redistest.Server) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at[s.Addr()]
}

type looksAt struct {
	looks *questions
	node  string
}

func (*looksAt) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l *looksAt) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if args := cmd.Args(); len(args) > 1 && args[1] == lockredis.WhoSHA {
			l.looks.mu.Lock()
			l.looks.at[l.node]++
			l.looks.mu.Unlock()
		}
		return next(ctx, cmd)
	}
}

func (*looksAt) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestANodeOfAClusterIsAskedOnceATickWhoItIsWhileItHasALockAndElseNotAtAll(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	t.Cleanup(func() { client.Close() })
	seen := &questions{at: map[string]int{}}
	client.OnNewNode(seen.of)
	r := (&rig{t: t}).at(lockredis.Config{Client: client})
	for i := range 20 { // in many slots
		r.free(r.take("me", 0, keyOn(c, c.Masters[0], i)))
	}
	began := time.Now()
	var grants []driver.Grant
	for i := range 20 {
		grants = append(grants, r.take("me", 0, keyOn(c, c.Masters[1], i)))
	}
	lapsing := r.take("me", 1200*time.Millisecond, keyOn(c, c.Masters[2], 0))
	gone := r.take("me", 0, keyOn(c, c.Masters[1], 20))
	redistest.Eventually(t, 20*time.Second, func() string {
		if n := seen.times(c.Masters[1]); n < 5 {
			return fmt.Sprintf("it was asked %d times", n)
		}
		return ""
	})
	took := time.Since(began)
	t.Logf("asked 5 times within %s, the node whose lock has lapsed %d times", took, seen.times(c.Masters[2]))
	if most := int(took/tick) + 1; seen.times(c.Masters[1]) > most || seen.times(c.Masters[2]) > 3 || seen.times(c.Masters[0]) > 0 {
		t.Errorf("within %s the nodes were asked %v times, want at most %d times the one that has locks", took, seen.at, most)
	}
	for _, g := range grants {
		r.free(g)
	}
	if n := client.Del(bg, "medusa_lock:"+gone.Holds[0].Key).Val(); n != 1 {
		t.Fatalf("%d deleted", n)
	}
	if got, err := r.Extend(bg, time.Hour, holdsOf(gone, lapsing)); err != nil || got[0].Held || got[1].Held {
		t.Fatalf("got %+v, %v", got, err)
	}
	before := seen.total()
	for end := time.Now().Add(3 * tick); time.Now().Before(end); time.Sleep(tick / 10) { // nothing is to happen
		if n := seen.total(); n > before+1 { // one may have been on its way
			t.Fatalf("asked %d times although nothing is held", n-before)
		}
	}
}

// toldToVerify waits until a process is told to verify what it holds.
func toldToVerify(t *testing.T, what string, events <-chan driver.Event, bound time.Duration) {
	t.Helper()
	select {
	case e := <-events:
		if !e.Verify {
			t.Errorf("%s: told was %+v", what, e)
		}
	case <-time.After(bound):
		t.Errorf("%s: nothing was told within %s", what, bound)
	}
}

func TestWhateverWayALockWasTakenItsNodeIsLookedAt(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	node := c.Masters[0]
	told := map[string]chan driver.Event{}
	for name, take := range map[string]func(r *rig){
		"by a request": func(r *rig) { r.take("me", 0, keyOn(c, node, 0)) },
		"by one for several slots": func(r *rig) {
			r.take("me", 0, keyOn(c, node, 1), keyOn(c, c.Masters[1], 1))
		},
		"by one that waited": func(r *rig) {
			first := r.take("x", 0, keyOn(c, node, 2))
			got := r.ask(driver.Request{Keys: []string{keyOn(c, node, 2)}, Owner: "*", Wait: time.Minute})
			redistest.Eventually(t, 10*time.Second, func() string {
				if n := r.Waiting(); n != 1 {
					return fmt.Sprintf("%d wait", n)
				}
				return ""
			})
			r.free(first)
			g := granted(t, got, 10*time.Second, "the waiter")
			if a, err := r.Extend(bg, 0, holdsOf(g)); err != nil || !a[0].Held {
				t.Errorf("it is not made full: %+v, %v", a, err)
			}
		},
		"by a ticket": func(r *rig) {
			ticket := driver.Ticket{ID: "t", Request: driver.Request{Keys: []string{keyOn(c, node, 3)}, Owner: "o"}}
			if place, err := r.Enqueue(bg, ticket); err != nil || !place.Offered {
				t.Errorf("enqueue: %+v, %v", place, err)
			}
			r.claim(ticket)
		},
		"for a short time that was made longer": func(r *rig) {
			g := r.take("me", time.Second, keyOn(c, node, 4))
			if a, err := r.Extend(bg, time.Hour, holdsOf(g)); err != nil || !a[0].Held {
				t.Errorf("it is not extended: %+v, %v", a, err)
			}
		},
	} {
		r, events := notListeningAt(t, c, node)
		take(r)
		told[name] = events
	}
	for name, events := range told {
		toldToVerify(t, "at the first look, of a lock taken "+name, events, 10*time.Second)
	}
	for end := time.Now().Add(3 * tick); time.Now().Before(end); time.Sleep(tick / 10) { // then the short time is over
		for _, events := range told {
			for len(events) > 0 { // of other nodes
				<-events
			}
		}
	}
	node.Restart()
	for name, events := range told {
		toldToVerify(t, "of a lock taken "+name, events, 20*time.Second) // the node does not answer for 2 s
	}
}

// notListeningAt is a process that listens at another node, and what it is told.
func notListeningAt(t *testing.T, c *redistest.Cluster, node *redistest.Server) (*rig, chan driver.Event) {
	t.Helper()
	client := node.Client()
	for {
		before := len(client.PubSubChannels(bg, "~lockstep:c:*").Val())
		events := make(chan driver.Event, 100)
		p, err := startTold(t, lockredis.Config{RedisURL: c.Masters[0].URL()}, func(e driver.Event) { events <- e })
		if err != nil {
			t.Fatal(err)
		}
		if len(client.PubSubChannels(bg, "~lockstep:c:*").Val()) == before {
			return &rig{p, t, nil, nil}, events
		}
		p.Close(bg)
	}
}

// holdBack keeps back the answer to the first command that has an argument.
type holdBack struct {
	once sync.Once
	arg  string
	had  chan struct{} // an answer is here
	on   chan struct{} // it may go on
}

func (*holdBack) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *holdBack) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if slices.ContainsFunc(cmd.Args(), func(arg any) bool { text, ok := arg.(*string); return ok && *text == h.arg }) {
			h.once.Do(func() {
				h.had <- struct{}{}
				<-h.on
			})
		}
		return err
	}
}

func (*holdBack) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// The process is slow to take up the answer, and has seen the next server in the meantime.
func TestALockThatWasGrantedBeforeItsNodeWasSeenToBeAnotherIsVerified(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	slow := &holdBack{had: make(chan struct{}), on: make(chan struct{})}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	t.Cleanup(func() { client.Close() })
	client.AddHook(slow)
	events := make(chan driver.Event, 100)
	p, err := startTold(t, lockredis.Config{Client: client}, func(e driver.Event) { events <- e })
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{p, t, nil, nil}
	node, _ := elsewhere(t, c)
	key := keyOn(c, node, 1)
	slow.arg = "medusa_lock:" + key
	r.take("me", 0, keyOn(c, node, 0))
	toldToVerify(t, "at the first look", events, 10*time.Second)
	got := r.ask(try("me", key))
	select {
	case <-slow.had:
	case o := <-got:
		t.Fatalf("the answer was not kept back: %+v", o)
	}
	node.Restart()
	toldToVerify(t, "that the node is another", events, 20*time.Second)
	select {
	case e := <-events:
		t.Fatalf("told was more: %+v", e)
	case <-time.After(2 * tick):
	}
	slow.on <- struct{}{}
	granted(t, got, 10*time.Second, "the request")
	toldToVerify(t, "that a lock may be the former node's", events, 3*2*tick)
}

// A message may have been lost.
func TestANodeOfAClusterThatAnswersAgainHasEveryLockVerified(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0, "--cluster-node-timeout", "60000")
	events := make(chan driver.Event, 100)
	p, err := startTold(t, lockredis.Config{RedisURL: c.Masters[0].URL()}, func(e driver.Event) { events <- e })
	if err != nil {
		t.Fatal(err)
	}
	node, _ := elsewhere(t, c)
	r := &rig{p, t, nil, nil}
	r.take("me", 0, keyOn(c, node, 0))
	looked(t, node)
	for len(events) > 0 { // of the first look
		<-events
	}
	node.Pause()
	defer node.Resume()
	for end := time.Now().Add(3 * tick); time.Now().Before(end); time.Sleep(tick / 10) { // so long it is silent
		select {
		case e := <-events:
			t.Fatalf("while the node does not answer: %+v", e)
		default:
		}
	}
	node.Resume()
	resumed := time.Now()
	toldToVerify(t, "after the node went on", events, 3*2*tick)
	t.Logf("told %s after the node went on", time.Since(resumed))
}
