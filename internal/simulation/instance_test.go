package simulation

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

// node is a place where one instance runs after the other.
type node struct {
	w    *world
	name string
	now  *instance // nil while none runs; under mu
	n    int       // how many there have been
	cuts []cut
	bad  []span // when heartbeats get no answer
}

type span struct{ from, to time.Duration }

type cut struct {
	span

	servers string // "store", "locks" or "store locks"
}

// instance is one start of an engine, with all that its process has.
type instance struct {
	w      *world
	node   *node
	name   string
	me     store.Instance // as its engine calls itself; under mu
	engine *workflow.Engine
	locks  *locking.Service
	flows  map[*flow]*work
	life   context.Context
	end    context.CancelFunc
	died   <-chan struct{} // of life
	gone   chan string     // why it is to be replaced; room for one

	counts map[string]int // under mu
	frozen bool           // for longer than its lease; under mu
}

// count says how often something was done before; it takes mu.
func (in *instance) count(what string) int {
	in.w.mu.Lock()
	defer in.w.mu.Unlock()
	in.counts[what]++
	return in.counts[what]
}

// kill ends the process at once.
func (in *instance) kill(why string) {
	in.w.mu.Lock()
	defer in.w.mu.Unlock()
	in.killLocked(why)
}

func (in *instance) killLocked(why string) {
	if in.dead() {
		return
	}
	in.w.logf(in.name, "dies %s", why)
	in.w.deaths++
	in.end()
	in.replace(why)
}

func (in *instance) replace(why string) {
	select {
	case in.gone <- why:
	default:
	}
}

// dead says whether the process has ended.
func (in *instance) dead() bool { return in.life.Err() != nil }

// introduce notes what an engine calls itself.
func (in *instance) introduce(i store.Instance) {
	in.w.mu.Lock()
	defer in.w.mu.Unlock()
	in.me = i
	in.w.uids[i.Incarnation] = in.name
	in.w.byIncarnation[i.Incarnation] = in
}

// cutFor is how much longer the instance is cut off from a server.
func (in *instance) cutFor(server string) time.Duration {
	in.w.mu.Lock()
	defer in.w.mu.Unlock()
	return in.cutLocked(server)
}

func (in *instance) cutLocked(server string) time.Duration {
	now := in.w.now()
	for _, c := range in.node.cuts {
		if now >= c.from && now < c.to && strings.Contains(c.servers, server) {
			return c.to - now
		}
	}
	return 0
}

func (in *instance) starving() bool {
	now := in.w.now()
	for _, s := range in.node.bad {
		if now >= s.from && now < s.to {
			return true
		}
	}
	return false
}

// freeze has the process stand still for longer than its lease, and go on: what it is
// about to send comes late. It does not know of it, since to its clock no time has
// passed: in the one clock of the bubble it is the store that counts more of it.
func (in *instance) freeze(d time.Duration) {
	w := in.w
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.store.instances[in.me]
	if l == nil || in.frozen {
		return
	}
	w.logf(in.name, "freezes for %s, and its lease is over", d)
	w.tally.note("an instance freezes")
	in.frozen, l.until = true, w.store.now()
	in.node.cuts = append(in.node.cuts, cut{span{w.now(), w.now() + d}, "store locks"})
}

// start starts a process.
func (n *node) start() *instance {
	w := n.w
	w.mu.Lock()
	n.n++
	in := &instance{
		w: w, node: n, name: n.name + "#" + itoa(n.n), gone: make(chan string, 1),
		counts: map[string]int{}, flows: map[*flow]*work{},
	}
	in.life, in.end = context.WithCancel(context.Background())
	in.died = in.life.Done()
	w.logf(in.name, "starts")
	w.mu.Unlock()
	log := slog.New(&engineLog{in: in})
	var err error
	in.locks, err = locking.New(context.Background(), locking.Config{
		Logger:    log,
		Providers: []locking.Registration{{ID: "sim", IsDefault: true, Provider: &lockConn{in: in}}},
	})
	if err != nil {
		panic(err)
	}
	c := container.New()
	container.MustRegister(c, locking.ServiceKey, in.locks)
	comp := composer{in: in, made: in.flows}
	var set workflow.Set
	for _, fl := range w.flows {
		set = append(set, comp.compose(fl))
	}
	in.engine, err = workflow.NewEngine(workflow.Config{
		Container: c, Store: &conn{in}, Workflows: set, Logger: log, Node: n.name,
		Lease: lease, LockLease: lockLease, CancelGrace: cancelGrace, RestAfter: w.p.rest, Retention: time.Hour,
	})
	if err != nil {
		panic(err)
	}
	return in
}

// stop ends what a process has left, or all of it at once.
func (in *instance) stop(ctx context.Context) {
	_ = in.engine.Stop(ctx) // what is unfinished is gone on with elsewhere
	in.kill("since it is stopped")
	_ = in.locks.Close(context.Background())
}

var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// run has an instance on the node until the history is over.
func (n *node) run() {
	w := n.w
	f := w.f.of("node", n.name)
	w.pause(f.between("start", 0, 300*time.Millisecond))
	for !w.ended() {
		in := n.start()
		if err := in.engine.Start(context.Background()); err != nil {
			in.stop(ended)
			w.pause(f.num(uint64(n.n)).between("again", 10*time.Millisecond, time.Second))
			continue
		}
		w.mu.Lock()
		n.now = in
		w.mu.Unlock()
		var why string
		select {
		case why = <-in.gone:
		case <-w.over:
			why = "over"
		}
		w.mu.Lock()
		n.now = nil
		w.mu.Unlock()
		f := f.num(uint64(n.n))
		if why == "lease" { // it is found out after a while
			time.Sleep(f.between("found out", time.Millisecond, 3*time.Second))
		}
		if why == "stop" {
			ctx, cancel := context.WithTimeout(context.Background(), f.between("drain", 0, 3*time.Second))
			in.stop(ctx)
			cancel()
		} else {
			in.stop(ended)
		}
		w.pause(f.skewed("away", 10*time.Millisecond, 8*time.Second))
	}
}

// engineLog takes what an engine says.
type engineLog struct {
	in    *instance
	attrs []slog.Attr
}

var _ slog.Handler = (*engineLog)(nil)

// Enabled implements [slog.Handler].
func (l *engineLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle implements [slog.Handler].
func (l *engineLog) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	for _, a := range l.attrs {
		b.WriteString(" " + a.String())
	}
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(" " + a.String())
		return true
	})
	l.in.w.mu.Lock()
	l.in.w.asidef(l.in.name, "says: %s", b.String())
	l.in.w.mu.Unlock()
	if strings.Contains(r.Message, "has lost its lease") {
		l.in.w.tally.note("an instance loses its lease")
		l.in.replace("lease")
	}
	return nil
}

// WithAttrs implements [slog.Handler].
func (l *engineLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &engineLog{l.in, append(append([]slog.Attr(nil), l.attrs...), attrs...)}
}

// WithGroup implements [slog.Handler].
func (l *engineLog) WithGroup(string) slog.Handler { return l }
