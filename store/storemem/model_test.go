package storemem

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/lockstep-dev/lockstep/store"
)

// model is what the words of package store say of a few executions and instances, in the
// slowest and plainest way.
type model struct {
	*rapid.T

	s       *Store
	now     func() time.Time
	x       map[string]*modelled // by id
	until   map[store.Instance]time.Time
	gone    map[store.Instance]bool // ended, or noticed to have lapsed
	ended   map[store.Instance]bool
	claims  uint64
	claimed int
}

type modelled struct {
	plan     store.PlanID
	fence    store.Fence
	head     store.Head
	inbox    []string
	released bool
	run      string
}

var (
	modelInstances = []store.Instance{
		{Node: "a", Incarnation: "1"}, {Node: "a", Incarnation: "2"}, {Node: "b", Incarnation: "1"}, {Incarnation: "1"}, {Incarnation: "2"},
	}
	modelPlans = []store.PlanID{{Workflow: "w", Fingerprint: "1"}, {Workflow: "w", Fingerprint: "2"}, {Workflow: "v", Fingerprint: "1"}}
)

func (m *model) key(id string) store.Key { return store.Key{Workflow: m.x[id].plan.Workflow, ID: id} }

func (m *model) lives(i store.Instance) bool { return !m.gone[i] && m.until[i].After(m.now()) }

// lapse notes the leases whose time is up: for good.
func (m *model) lapse() {
	for i, until := range m.until {
		if !until.After(m.now()) {
			m.gone[i] = true
		}
	}
}

func (m *model) owner(x *modelled) store.Instance {
	if m.ended[x.fence.Owner] {
		return store.Instance{}
	}
	return x.fence.Owner
}

// claimable is the rule of [store.Claim], word by word.
func (m *model) claimable(x *modelled, c store.Claim, named bool) bool {
	finished := x.head.State.Finished()
	if finished && !x.head.Unsettled && len(x.inbox) == 0 {
		return false // there is nothing to do for it
	}
	owner := m.owner(x)
	switch {
	case owner.None():
		due := !x.head.DueAt.IsZero() && !x.head.DueAt.After(m.now()) || x.head.DueAt.IsZero() && finished
		return due || len(x.inbox) > 0 || x.released || m.ended[x.fence.Owner]
	case !m.lives(owner):
		return true
	case owner != c.Instance && owner.Node == c.Instance.Node && c.Instance.Node != "" && c.Predecessors:
		return true
	}
	return owner == c.Instance && named
}

func (m *model) drawID() (string, bool) {
	ids := make([]string, 0, len(m.x))
	for id := range m.x {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return "", false
	}
	slices.Sort(ids)
	return rapid.SampledFrom(ids).Draw(m.T, "id"), true
}

func (m *model) drawInstance() store.Instance {
	return rapid.SampledFrom(modelInstances).Draw(m.T, "instance")
}

func (m *model) drawHead() store.Head {
	h := store.Head{
		State:     rapid.SampledFrom([]store.ExecutionState{store.Invoking, store.Compensating, store.Done, store.Failed}).Draw(m.T, "state"),
		Unsettled: rapid.IntRange(0, 3).Draw(m.T, "unsettled") == 0,
		Holding:   rapid.IntRange(0, 3).Draw(m.T, "holding") == 0,
	}
	if rapid.Bool().Draw(m.T, "has a time") {
		h.DueAt = keptTime(m.now().Add(time.Duration(rapid.IntRange(-5, 10).Draw(m.T, "due")) * time.Second))
	}
	return h
}

func (m *model) create(id string) {
	x := &modelled{
		plan: rapid.SampledFrom(modelPlans).Draw(m.T, "plan"), head: m.drawHead(), run: fmt.Sprint(id, " ", m.claims, " ", m.now()),
		fence: store.Fence{Epoch: 1, Revision: 1},
	}
	if rapid.Bool().Draw(m.T, "owned") {
		x.fence.Owner = m.drawInstance()
	}
	m.x[id] = x
	refused := !x.fence.Owner.None() && !m.lives(x.fence.Owner)
	existing, err := m.s.Create(m.Context(), &store.Snapshot{
		Identity: store.Identity{Key: m.key(id), RunUID: x.run, Fingerprint: x.plan.Fingerprint, CreatedAt: m.now()},
		Fence:    x.fence, Head: x.head,
	})
	if existing != nil || errors.Is(err, store.ErrInstance) != refused || err != nil && !refused {
		m.Fatalf("create of %s: %v, %v, refused: %t", id, existing, err, refused)
	}
	if refused {
		delete(m.x, id)
	}
}

func (m *model) commit(id string) {
	x := m.x[id]
	w := store.Write{
		Key: m.key(id), ID: m.claims, Fence: x.fence, Head: m.drawHead(), Release: rapid.Bool().Draw(m.T, "release"),
	}
	if len(x.inbox) > 0 && rapid.Bool().Draw(m.T, "consume") {
		w.Consumed = x.inbox[:rapid.IntRange(1, len(x.inbox)).Draw(m.T, "how many")]
	}
	err := m.s.Commit(m.Context(), []store.Write{w})[0]
	if owner := m.owner(x); owner.None() {
		if !errors.Is(err, store.ErrFenced) {
			m.Fatalf("a write to %s, which nobody owns: %v", id, err)
		}
		return
	}
	if err != nil {
		m.Fatalf("a write to %s: %v", id, err)
	}
	x.fence.Revision++
	x.head, x.inbox = w.Head, slices.Clone(x.inbox[len(w.Consumed):])
	if w.Release {
		x.fence.Owner, x.released = store.Instance{}, false
	}
}

func (m *model) claim() {
	m.claims++
	c := store.Claim{
		Instance: m.drawInstance(), ID: m.claims, Predecessors: rapid.IntRange(0, 3).Draw(m.T, "predecessors") == 0,
		Plans: rapid.SliceOfNDistinct(rapid.SampledFrom(modelPlans), 0, 3, func(p store.PlanID) store.PlanID { return p }).Draw(m.T, "plans"),
		Limit: rapid.IntRange(1, 8).Draw(m.T, "limit"), Holders: rapid.IntRange(0, 3).Draw(m.T, "holders alone") == 0,
	}
	named := map[string]bool{}
	if id, ok := m.drawID(); ok && rapid.IntRange(0, 3).Draw(m.T, "by keys") == 0 {
		c.Keys, named[id] = []store.Key{m.key(id)}, true
	}
	list, err := m.s.Claim(m.Context(), c)
	m.lapse()
	if !m.lives(c.Instance) {
		if !errors.Is(err, store.ErrInstance) {
			m.Fatalf("a claim of %s, which has no lease: %v", c.Instance, err)
		}
		return
	}
	m.judge(c, named, list, err)
	if c.Predecessors && c.Instance.Node != "" { // which ends their leases
		for _, i := range modelInstances {
			if _, leased := m.until[i]; leased && i != c.Instance && i.Node == c.Instance.Node {
				m.gone[i] = true
			}
		}
	}
}

// judge compares what was claimed with what may be.
func (m *model) judge(c store.Claim, named map[string]bool, list []store.Claimed, err error) {
	var want []string
	for id, x := range m.x {
		if (len(c.Keys) == 0 && (x.head.Holding || !c.Holders) || named[id]) && slices.Contains(c.Plans, x.plan) && m.claimable(x, c, named[id]) {
			want = append(want, id)
		}
	}
	if err != nil || len(list) != min(len(want), c.Limit) {
		m.Fatalf("%+v returned %d, %v; want %d of %q", c, len(list), err, c.Limit, want)
	}
	holders := 0
	for _, id := range want {
		if m.x[id].head.Holding {
			holders++
		}
	}
	for i, got := range list {
		x := m.x[got.ID]
		if x.head.Holding != (i < holders) {
			m.Fatalf("%+v returned %s, which holds locks: %t, as number %d; there were %d to come first", c, got.ID, x.head.Holding, i, holders)
		}
		if !slices.Contains(want, got.ID) {
			m.Fatalf("%+v returned %s, want some of %q", c, got.ID, want)
		}
		owner := m.owner(x)
		if unclean := !owner.None() && owner != c.Instance; got.Unclean != unclean {
			m.Fatalf("%s was claimed of %s, unclean: %t", got.ID, owner, got.Unclean)
		}
		x.fence = store.Fence{Owner: c.Instance, Epoch: x.fence.Epoch + 1, Revision: x.fence.Revision + 1}
		x.released = false
		if got.Fence != x.fence || len(got.Inbox) != len(x.inbox) {
			m.Fatalf("%s was claimed under %+v with %d messages, want %+v, %d", got.ID, got.Fence, len(got.Inbox), x.fence, len(x.inbox))
		}
		m.claimed++
	}
}

func (m *model) unread() {
	i := m.drawInstance()
	keys, err := m.s.Unread(m.Context(), i)
	var got, want []string
	for _, k := range keys {
		got = append(got, k.ID)
	}
	for id, x := range m.x {
		if m.owner(x) == i && len(x.inbox) > 0 {
			want = append(want, id)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		m.Fatalf("%s has unread %q, %v; want %q", i, got, err, want)
	}
}

func (m *model) actions() map[string]func(*rapid.T) {
	with := func(do func(id string)) func(*rapid.T) {
		return func(*rapid.T) {
			if id, ok := m.drawID(); ok {
				do(id)
			}
		}
	}
	ctx := m.Context()
	return map[string]func(*rapid.T){
		"create": func(*rapid.T) {
			if id := fmt.Sprint(rapid.IntRange(0, 9).Draw(m.T, "new")); m.x[id] == nil {
				m.create(id)
			}
		},
		"commit": with(m.commit),
		"claim":  func(*rapid.T) { m.claim() },
		"unread": func(*rapid.T) { m.unread() },
		"deliver": with(func(id string) {
			message := fmt.Sprint("m-", rapid.IntRange(0, 3).Draw(m.T, "message"))
			if err := m.s.Deliver(ctx, m.key(id), store.Message{ID: message}); err != nil {
				m.Fatal(err)
			}
			if x := m.x[id]; !slices.Contains(x.inbox, message) {
				x.inbox = append(x.inbox, message)
			}
		}),
		"release": with(func(id string) {
			i, x := m.drawInstance(), m.x[id]
			if err := m.s.Release(ctx, i, []store.Held{{Key: m.key(id), Epoch: x.fence.Epoch}}); err != nil {
				m.Fatal(err)
			}
			if m.owner(x) == i {
				x.fence.Owner, x.released = store.Instance{}, true
			}
		}),
		"forget": with(func(id string) {
			x := m.x[id]
			settled := x.head.State.Finished() && !x.head.Unsettled
			if err := m.s.Forget(ctx, m.key(id), x.run); (err == nil) != settled {
				m.Fatalf("forget of %s: %v", id, err)
			}
			if settled {
				delete(m.x, id)
			}
		}),
		"heartbeat": func(*rapid.T) {
			i, lease := m.drawInstance(), time.Duration(rapid.IntRange(1, 20).Draw(m.T, "lease"))*time.Second
			err := m.s.Heartbeat(ctx, i, lease)
			m.lapse()
			if (err == nil) == m.gone[i] {
				m.Fatalf("a heartbeat of %s, which has gone: %t: %v", i, m.gone[i], err)
			}
			if err == nil {
				m.until[i] = m.now().Add(lease)
			}
		},
		"end": func(*rapid.T) {
			if i := m.drawInstance(); rapid.IntRange(0, 3).Draw(m.T, "end") == 0 {
				if err := m.s.End(ctx, i); err != nil {
					m.Fatal(err)
				}
				m.gone[i], m.ended[i] = true, true
			}
		},
		"time passes": func(*rapid.T) { time.Sleep(time.Duration(rapid.IntRange(0, 3).Draw(m.T, "seconds")) * time.Second) },
		"":            func(*rapid.T) { m.wantSame(); wantInPlace(m.T, m.s) },
	}
}

// wantSame loads all.
func (m *model) wantSame() {
	for id, x := range m.x {
		got, err := m.s.Load(m.Context(), m.key(id))
		if err != nil {
			m.Fatalf("%s: %v", id, err)
		}
		want := x.fence
		want.Owner = m.owner(x)
		if got.Fence != want || got.State != x.head.State || !got.DueAt.Equal(x.head.DueAt) || len(got.Inbox) != len(x.inbox) {
			m.Fatalf("%s is %+v %+v, want %+v %+v", id, got.Fence, got.Head, want, x.head)
		}
	}
	if m.s.Len() != len(m.x) {
		m.Fatalf("%d are kept, want %d", m.s.Len(), len(m.x))
	}
}

// wantInPlace looks at invariant 2 of [Store].
func wantInPlace(t *rapid.T, s *Store) {
	t.Helper()
	listed := 0
	for _, e := range s.byKey {
		active := e.active()
		_, inLine := e.waitsSince()
		if want := active && !e.owner.drives() && (e.ready() || !e.head.DueAt.IsZero()); inLine != want {
			t.Fatalf("%s is in a line of its plan: %t", e.Key, inLine)
		}
		var chain *chain
		if active && e.owner != nil && e.owner.state != ended {
			if chain = &e.owner.quiet; len(e.inbox.list) > 0 {
				chain = &e.owner.unread
			}
		}
		if e.in != chain {
			t.Fatalf("%s is in the wrong chain", e.Key)
		}
		if e.claim != nil && (e.claim.by != e.owner || !slices.Contains(e.claim.entries, e)) {
			t.Fatalf("%s is of the wrong claim", e.Key)
		}
	}
	for _, c := range s.timeline.chunks {
		listed += len(c.entries)
	}
	for _, p := range s.plans {
		for i, line := range p.lines() {
			wantInLine(t, s, p, line, i == 0)
		}
	}
	if listed != len(s.byKey) {
		t.Fatalf("%d of %d are in the timeline", listed, len(s.byKey))
	}
}

func wantInLine(t *rapid.T, s *Store, p *plan, line *queue, holding bool) {
	t.Helper()
	for i, item := range line.items {
		e := item.e
		if e.plan != p || e.line != line || e.head.Holding != holding || e.places[inLine] != i+1 || s.byKey[e.Key] != e {
			t.Fatalf("%s is in a line, and should not be there", e.Key)
		}
	}
}

// noDeadline is a test in a bubble, which cannot be asked for its deadline.
type noDeadline struct{ testing.TB }

func TestTheStoreDoesWhatTheWordsSay(t *testing.T) {
	claimed := 0
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(noDeadline{t}, func(t *rapid.T) {
			m := &model{
				T: t, s: New(), now: time.Now, x: map[string]*modelled{}, until: map[store.Instance]time.Time{},
				gone: map[store.Instance]bool{}, ended: map[store.Instance]bool{},
			}
			t.Repeat(m.actions())
			claimed += m.claimed
		})
	})
	if claimed == 0 {
		t.Error("nothing was ever claimed")
	}
}
