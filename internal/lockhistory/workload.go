package lockhistory

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Workload is what the callers of one provider do: workers that take keys, use and give
// them back, and do all that may go wrong meanwhile. The same seed makes the same
// choices, as far as answers and their times are the same.
type Workload struct {
	Seed    uint64
	Ops     int64 // the workers end when there are so many operations
	Workers int
	Keys    int // that are in use at a time; the first is the hot one
	// Prefix begins the keys' names: no two histories have keys in common.
	Prefix string
	// Era is after how many operations of this process other keys are used: a key's
	// history is to stay short.
	Era int64
	// Wait is how long requests wait at most, and Full the time to live of a hold that
	// is not to lapse.
	Wait, Full time.Duration
	// Forever is how many in a hundred have no time to live. Where processes die there
	// must be none.
	Forever int
}

// The times of holds that are meant to lapse, of waiting that ends soon, and of use.
const (
	shortLeast, shortMost = 8 * time.Millisecond, 24 * time.Millisecond
	soonMost              = 4 * time.Millisecond
	useMost               = 300 * time.Microsecond
)

// Run has the workers work, and returns when they have ended: with ctx, or with enough
// operations.
func (w Workload) Run(ctx context.Context, p driver.Inspector, r *Recorder) {
	var all sync.WaitGroup
	watching, stop := context.WithCancel(ctx)
	defer all.Wait()
	defer stop()
	all.Go(func() { r.watchStalls(watching) })
	var done atomic.Int64
	var workers sync.WaitGroup
	known := &known{}
	for i := range w.Workers {
		workers.Go(func() {
			s := session{
				Workload: w, Caller: Caller{p, r, i}, known: known, done: &done,
				rand: rand.New(rand.NewPCG(w.Seed, uint64(r.Process)<<32|uint64(i))),
			}
			for ctx.Err() == nil && done.Load() < w.Ops {
				s.next(ctx)
			}
		})
	}
	workers.Wait()
}

// known has holds that this process got lately, for others to meddle with.
type known struct {
	mu   sync.Mutex
	last [64]driver.Hold
	n    int
}

func (k *known) add(h driver.Hold) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last[k.n%len(k.last)] = h
	k.n++
}

func (k *known) latest(back int) (driver.Hold, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.n <= back {
		return driver.Hold{}, false
	}
	return k.last[(k.n-1-back)%len(k.last)], true
}

// session is what one worker does.
type session struct {
	Workload
	Caller

	known  *known
	done   *atomic.Int64
	rand   *rand.Rand
	number int
}

// chance is true that often, in percent.
func (s *session) chance(percent int) bool { return s.rand.IntN(100) < percent }

func (s *session) upTo(most time.Duration) time.Duration {
	return time.Duration(s.rand.Int64N(int64(most)))
}

// key is one of those in use. The hot one is used by a third.
func (s *session) key() string {
	n := 0
	if !s.chance(33) {
		n = s.rand.IntN(s.Keys)
	}
	return s.nth(n)
}

func (s *session) nth(n int) string {
	return fmt.Sprintf("%s%d-%d", s.Prefix, s.done.Load()/s.Era, n)
}

// owner is a new one, of one of the kinds that providers treat differently.
func (s *session) owner() string {
	s.number++
	name := fmt.Sprintf("%d.%d.%d", s.Recorder.Process, s.Worker, s.number)
	switch n := s.rand.IntN(10); {
	case n < 2:
		return driver.Anonymous
	case n < 5:
		return "execute:" + name
	default:
		return name
	}
}

// keys are one, or now and then several.
func (s *session) keys() []string {
	if s.Keys < 3 || !s.chance(12) {
		return []string{s.key()}
	}
	from := s.rand.IntN(s.Keys - 2)
	if a, b := s.nth(from), s.nth(from+2); a < b {
		return []string{a, b}
	}
	return []string{s.key()}
}

// next takes something, and does with it what comes to mind.
func (s *session) next(ctx context.Context) {
	switch n := s.rand.IntN(100); {
	case n < 12:
		s.count(1)
		_, _ = s.Inspect(ctx, s.nth(0)) // it is recorded, as all others are
	case n < 18:
		s.meddle(ctx)
	default:
		s.use(ctx)
	}
}

func (s *session) count(n int) { s.done.Add(int64(n)) }

// request is one of many kinds.
func (s *session) request() (Kind, driver.Request) {
	req := driver.Request{Keys: s.keys(), Owner: s.owner(), TTL: s.Full, Wait: s.Wait}
	switch n := s.rand.IntN(100); {
	case n < 3:
		req.TTL = shortLeast + s.upTo(shortMost-shortLeast)
	case n < 3+s.Forever:
		req.TTL = 0
	}
	switch n := s.rand.IntN(100); {
	case n < 25:
		req.Wait = driver.NoWait
		return Try, req
	case n < 35:
		return Cancel, req
	case n < 40:
		req.Wait = time.Millisecond + s.upTo(soonMost)
	}
	return Acquire, req
}

// use takes keys and gives them back.
func (s *session) use(ctx context.Context) {
	kind, req := s.request()
	asking, cancel := ctx, context.CancelFunc(func() {})
	if kind == Cancel {
		asking, cancel = context.WithTimeout(ctx, s.upTo(soonMost))
	}
	s.count(1)
	g, err := s.Acquire(asking, kind, req)
	cancel()
	if err != nil {
		return
	}
	t := &taken{req: req, holds: holds(g), lapses: req.TTL > 0 && req.TTL < shortMost}
	for _, h := range t.holds {
		s.known.add(h)
	}
	s.hold(ctx, t)
	s.giveBack(ctx, t)
}

// taken is what a session has.
type taken struct {
	req    driver.Request
	holds  []driver.Hold
	old    []driver.Hold // what it had before a takeover
	lapses bool
}

func holds(g driver.Grant) []driver.Hold {
	list := make([]driver.Hold, len(g.Holds))
	for i := range g.Holds {
		list[i] = g.Holds[i].Hold
	}
	return list
}

// hold does something while keys are held.
func (s *session) hold(ctx context.Context, t *taken) {
	if t.lapses && s.chance(70) {
		s.pause(ctx, shortMost+s.upTo(shortMost))
	}
	if s.chance(40) {
		s.count(1)
		_, _ = s.Extend(ctx, t.req, t.holds)
	}
	named := t.req.Owner != driver.Anonymous
	if named && s.chance(10) {
		s.again(ctx, t, Join, t.req.Generation)
	}
	if named && s.chance(15) {
		s.takeOver(ctx, t)
	}
	if s.chance(4) {
		s.count(1)
		_ = s.Force(ctx, t.holds[0], s.chance(50))
		if s.chance(50) {
			s.count(1)
			_, _ = s.Extend(ctx, t.req, t.holds)
		}
	}
	if s.chance(30) {
		s.pause(ctx, s.upTo(useMost))
	}
}

// pause lets time pass: what is held is held for a while.
func (s *session) pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// again asks for what the owner has, and takes what it gets.
func (s *session) again(ctx context.Context, t *taken, kind Kind, gen driver.Generation) bool {
	req := t.req
	req.Generation, req.Wait = gen, driver.NoWait
	s.count(1)
	g, err := s.Acquire(ctx, kind, req)
	if err != nil {
		return false
	}
	t.req.Generation, t.old, t.holds = gen, t.holds, holds(g)
	return true
}

// takeOver takes over from itself, and goes on as what it was before, too.
func (s *session) takeOver(ctx context.Context, t *taken) {
	gen := t.req.Generation
	if !s.again(ctx, t, Takeover, driver.Generation{Epoch: gen.Epoch, Attempt: gen.Attempt + 1}) {
		return
	}
	if s.chance(50) {
		s.count(1)
		_, _ = s.Extend(ctx, t.req, t.old)
	}
	if s.chance(50) {
		s.count(1)
		_ = s.Release(ctx, t.old)
	}
	if late := (&taken{req: t.req}); s.chance(30) && s.again(ctx, late, Outdated, gen) {
		s.count(1)
		s.free(ctx, late.holds) // the newer one is not held any more
	}
}

// giveBack ends the session.
func (s *session) giveBack(ctx context.Context, t *taken) {
	if t.lapses && s.chance(20) {
		return // it is left to lapse
	}
	all := t.req.Owner != driver.Anonymous && s.chance(10)
	s.count(1)
	if !all || s.ReleaseAll(ctx, t.req.Owner, t.req.Keys) != nil {
		s.free(ctx, t.holds)
	}
	if s.chance(10) {
		s.count(1)
		_, _ = s.Extend(ctx, t.req, t.holds)
	}
	if s.chance(10) {
		s.count(1)
		_ = s.Release(ctx, t.holds)
	}
}

// free releases until there is an answer: what has no time to live would stay.
func (s *session) free(ctx context.Context, holds []driver.Hold) {
	for s.Release(ctx, holds) != nil && ctx.Err() == nil {
		s.count(1)
		s.pause(ctx, useMost)
	}
}

// meddle does something to what another one has.
func (s *session) meddle(ctx context.Context) {
	h, ok := s.known.latest(s.rand.IntN(8))
	if !ok {
		return
	}
	s.count(1)
	switch s.rand.IntN(6) {
	case 0:
		_ = s.Force(ctx, h, true)
	case 1:
		_ = s.Force(ctx, h, false)
	case 2:
		thief := h
		thief.Owner = "thief of " + h.Owner
		_ = s.Release(ctx, []driver.Hold{thief})
	case 3:
		h.Token--
		_ = s.Release(ctx, []driver.Hold{h})
	case 4:
		_, _ = s.Extend(ctx, driver.Request{TTL: s.Full}, []driver.Hold{{Key: h.Key, Owner: h.Owner, Token: h.Token - 1}})
	default:
		_, _ = s.Inspect(ctx, h.Key)
	}
}
