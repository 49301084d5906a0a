package simulation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// world is one history.
type world struct {
	seed uint64
	f    fate
	p    profile

	began time.Time
	over  chan struct{}  // closed when the instances are to end
	loose sync.WaitGroup // messages on their way
	hands sync.WaitGroup // clients, nodes, and others who act

	mu            sync.Mutex
	log           []entry
	uids          map[string]string // what is different each time, and what it is called here
	byIncarnation map[string]*instance
	faults        []string
	known         map[string]int
	tally         tally
	deaths        int
	isOver        bool

	// unanswered says which calls get no answer, beside those of the profile.
	unanswered func(r request) bool
	// changeNature may change what a body does; nil changes nothing.
	changeNature func(d *deed, b *nature)

	store   *server
	locks   *lockServer
	ledger  *ledger
	flows   []*flow // children first
	tops    []*flow
	nodes   []*node
	clients []*client
	mirrors []*mirror
}

// faultf notes that something is not as it must be. It requires mu.
func (w *world) faultf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.logf("JUDGE", "%s", text)
	w.faults = append(w.faults, text)
}

// calm says that nothing goes wrong any more.
func (w *world) calm() bool { return w.now() >= w.p.trouble }

func (w *world) ended() bool {
	select {
	case <-w.over:
		return true
	default:
		return false
	}
}

// pause lets time pass, unless the history ends before.
func (w *world) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.over:
	}
}

// name is what an execution is called, whatever ids it is made of. It requires mu.
func (w *world) name(k store.Key) string { return k.Workflow + "/" + w.uid(k.ID) }

func (w *world) nameNow(k store.Key) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.name(k)
}

// uid replaces the ids in a text. It requires mu.
func (w *world) uid(text string) string {
	const length = 36
	var b strings.Builder
	for len(text) > 0 {
		if len(text) >= length && text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-' {
			if name, ok := w.uids[text[:length]]; ok {
				b.WriteString(name)
			} else {
				b.WriteString("?")
			}
			text = text[length:]
			continue
		}
		b.WriteByte(text[0])
		text = text[1:]
	}
	return b.String()
}

func (w *world) uidNow(text string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.uid(text)
}

func (w *world) nameOf(i store.Instance) string {
	if i.None() {
		return "nobody"
	}
	return w.uid(i.Incarnation)
}

// any returns an instance that lives, or nil.
func (w *world) any(f fate) *instance {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := f.below("which", len(w.nodes))
	for i := range w.nodes {
		if in := w.nodes[(first+i)%len(w.nodes)].now; in != nil && !in.dead() {
			return in
		}
	}
	return nil
}

func newWorld(seed uint64) *world {
	f := newFate(seed)
	w := &world{
		seed: seed, f: f, p: newProfile(f), began: time.Now(), over: make(chan struct{}),
		known: map[string]int{}, uids: map[string]string{}, byIncarnation: map[string]*instance{},
	}
	w.store, w.locks, w.ledger = newServer(w), startLocks(w), newLedger()
	grandchild := writeFlow(f, "grandchild", "g", 2, nil)
	child := writeFlow(f, "child", "c", 4, []*flow{grandchild})
	w.flows = []*flow{grandchild, child}
	for i := range 1 + f.below("flows", 2) {
		fl := writeFlow(f, "w"+itoa(i), "k", 3+f.below("size", 9), []*flow{child})
		w.flows, w.tops = append(w.flows, fl), append(w.tops, fl)
	}
	for i := range w.p.nodes {
		w.nodes = append(w.nodes, w.newNode("n"+itoa(i)))
	}
	return w
}

func (w *world) keys() (list []string) {
	for _, fl := range w.flows {
		list = append(list, fl.keys...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (w *world) newNode(name string) *node {
	n := &node{w: w, name: name}
	f := w.f.of("cuts", name)
	for i := range w.p.cuts {
		f := f.num(uint64(i))
		from := f.between("from", 0, w.p.trouble)
		to := min(from+f.skewed("length", 200*time.Millisecond, w.p.longestCut), w.p.trouble)
		n.cuts = append(n.cuts, cut{span{from, to}, pick(f, "servers", "store", "locks", "store locks")})
	}
	if w.p.starve > 0 {
		from := f.between("starve", 0, w.p.trouble)
		n.bad = append(n.bad, span{from, from + f.between("starve for", time.Second, 10*time.Second)})
	}
	return n
}

// run makes the history happen.
func (w *world) run() {
	for _, n := range w.nodes {
		w.hands.Go(n.run)
	}
	for i := range w.p.executions {
		c := &client{w: w, n: i, id: "e" + itoa(i), f: w.f.of("client").num(uint64(i))}
		c.flow = pick(c.f, "flow", w.tops...)
		c.input = val{X: c.id, N: c.f.of("input").roll() >> 12}
		w.clients = append(w.clients, c)
	}
	for _, c := range w.clients {
		w.hands.Go(c.run)
	}
	w.hands.Go(w.disturb)
	w.settle()
	w.mu.Lock()
	w.isOver = true
	w.mu.Unlock()
	close(w.over)
	w.hands.Wait()
	w.loose.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.faults) == 0 {
		w.judgeEnd()
	}
}

// settle waits until nothing is left to be done, or for as long as that may take. What
// nobody has released has lapsed then. Somebody may have something undone again
// meanwhile, since his call was doubled.
func (w *world) settle() {
	for quiet := time.Duration(0); quiet <= lockLease+3*time.Second; quiet += 500 * time.Millisecond {
		time.Sleep(500 * time.Millisecond)
		w.mu.Lock()
		left, broken := w.unfinished(), len(w.faults) > 0
		w.probe()
		late := w.now() > w.p.trouble+w.p.bound
		if late && len(left) > 0 {
			w.faultf("I8: %s after the trouble has ended there is still: %s", w.p.bound, strings.Join(left, "; "))
		}
		w.mu.Unlock()
		if broken || late {
			return
		}
		if len(left) > 0 || !w.calm() {
			quiet = 0
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.judgeLocks()
}

// disturb has happen what does not happen to a call.
func (w *world) disturb() {
	type event struct {
		at time.Duration
		do func()
	}
	var events []event
	for i := range w.p.storeJumps {
		f := w.f.of("jump").num(uint64(i))
		by := f.between("by", -5*time.Second, 10*time.Second)
		events = append(events, event{f.between("at", time.Second, w.p.trouble), func() {
			w.store.skew += by
			w.logf("store", "its clock jumps by %s", by)
			if by > 0 {
				w.tally.note("the clock of the store jumps forward")
			} else {
				w.tally.note("the clock of the store jumps back")
			}
		}})
	}
	for i := range w.p.stops {
		f := w.f.of("stop").num(uint64(i))
		n := pick(f, "node", w.nodes...)
		events = append(events, event{f.between("at", time.Second, w.p.trouble), func() {
			if n.now != nil {
				w.logf(n.now.name, "is asked to stop")
				n.now.replace("stop")
				w.tally.note("an instance is stopped")
			}
		}})
	}
	for i := range w.p.robberies {
		f := w.f.of("robbery").num(uint64(i))
		events = append(events, event{f.between("at", time.Second, w.p.trouble), func() {
			w.hands.Go(func() { w.locks.rob(f) })
		}})
	}
	slices.SortFunc(events, func(a, b event) int { return int(a.at - b.at) })
	for _, e := range events {
		if w.pause(e.at - w.now()); w.ended() {
			return
		}
		w.mu.Lock()
		e.do()
		w.mu.Unlock()
	}
}

// simulate makes the history of a seed.
func simulate(t *testing.T, seed uint64, change func(w *world)) (w *world) {
	defer func() {
		if v := recover(); v != nil { // such as a bubble in which nothing goes on any more
			panic(fmt.Sprintf("seed %d: %v", seed, v))
		}
	}()
	synctest.Test(t, func(*testing.T) {
		w = newWorld(seed)
		if change != nil {
			change(w)
		}
		w.run()
		_ = w.locks.Close(context.Background())
	})
	return w
}
