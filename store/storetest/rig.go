package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// rig is what a case works with: an empty store, an instance with a lease, and a few
// words to say what is expected. Its methods that end the test are for the test's
// goroutine.
type rig struct {
	testing.TB

	subject  Subject
	repeat   bool
	patience time.Duration
	raw      store.Store // as it was made
	s        store.Store // as the case sees it
	ctx      context.Context
	me       store.Instance
	ids      *atomic.Uint64
}

const (
	// defaultPatience bounds what should take no time worth mentioning. It is long because
	// the machine may be busy, not because a store may be slow.
	defaultPatience = 20 * time.Second
	// pollInterval is the pause between two looks at something that is to change.
	pollInterval = 5 * time.Millisecond
	// forLong is a lease that does not end within a case.
	forLong = 24 * time.Hour
)

// thePlan is that of executions about whose plan a case says nothing.
var thePlan = store.PlanID{Workflow: "workflow", Fingerprint: "fingerprint"}

func newRig(t testing.TB, subject Subject, repeat bool) *rig {
	t.Helper()
	patience := cmp.Or(subject.patience, defaultPatience)
	ctx, cancel := context.WithTimeout(context.Background(), 6*patience)
	t.Cleanup(cancel)
	r := &rig{TB: t, subject: subject, repeat: repeat, patience: patience, ctx: ctx, ids: new(atomic.Uint64)}
	r.raw = subject.New(t)
	r.s = r.seen(r.raw)
	r.Cleanup(func() { r.close(r.raw) })
	r.me = r.instance("me")
	return r
}

// seen is a store as the case sees it.
func (r *rig) seen(s store.Store) store.Store {
	if r.repeat {
		return twice{s}
	}
	return s
}

func (r *rig) close(s store.Store) {
	ctx, cancel := context.WithTimeout(context.Background(), r.patience)
	defer cancel()
	_ = s.Close(ctx) // the cases of its life look at the error
}

// handles returns n ways to the store, over several processes where it is shared.
func (r *rig) handles(n int) []store.Store {
	r.Helper()
	list := []store.Store{r.s}
	if r.subject.Another != nil {
		another := r.subject.Another(r.TB, r.raw)
		r.Cleanup(func() { r.close(another) })
		list = append(list, r.seen(another))
	}
	made := len(list)
	for len(list) < n {
		list = append(list, list[len(list)%made])
	}
	return list[:n]
}

// id returns a number that no other call has returned.
func (r *rig) id() uint64 { return r.ids.Add(1) }

func (r *rig) now() time.Time {
	if r.subject.Now != nil {
		return r.subject.Now()
	}
	return time.Now()
}

// lease is a lease whose end the case waits for.
func (r *rig) lease() time.Duration { return cmp.Or(r.subject.Lease, time.Second) }

func (r *rig) pass(d time.Duration) {
	if d <= 0 {
		return // the calls before it have taken longer
	}
	if r.subject.Advance != nil {
		r.subject.Advance(d)
		return
	}
	time.Sleep(d)
}

// instance returns an instance with a lease that does not end.
func (r *rig) instance(node string) store.Instance {
	r.Helper()
	i := r.unleased(node)
	r.beat(i, forLong)
	return i
}

// unleased returns an instance without a lease.
func (r *rig) unleased(node string) store.Instance {
	return store.Instance{Node: node, Incarnation: fmt.Sprintf("start-%d", r.id())}
}

func (r *rig) beat(i store.Instance, lease time.Duration) {
	r.Helper()
	if err := r.s.Heartbeat(r.ctx, i, lease); err != nil {
		r.Fatalf("Heartbeat(%s, %s): %v", i, lease, err)
	}
}

// callsInShort is how many calls fit into [rig.short] that take as long as one has just
// taken.
const callsInShort = 40

// short is a time whose end the case waits for, and in which it makes calls: a lease, or
// more where calls take long, as on a disk that others are busy with.
func (r *rig) short() time.Duration {
	r.Helper()
	began := time.Now()
	r.beat(r.me, forLong)
	return max(r.lease(), callsInShort*time.Since(began))
}

// shorten has the lease of an instance end soon, and returns the time before which it does
// not.
func (r *rig) shorten(i store.Instance) (until time.Time) {
	r.Helper()
	d := r.short()
	before := r.now()
	r.beat(i, d)
	return before.Add(d)
}

// lapse has the lease of an instance end. What it is to own was made before, however long
// that has taken.
func (r *rig) lapse(i store.Instance) {
	r.Helper()
	until := r.shorten(i)
	r.pass(until.Sub(r.now()) + r.lease())
}

// fresh is an execution of this instance, to be created.
func (r *rig) fresh(id string) *store.Snapshot {
	return &store.Snapshot{
		Identity: store.Identity{
			Key: store.Key{Workflow: thePlan.Workflow, ID: id}, RunUID: fmt.Sprintf("run-%d", r.id()),
			Fingerprint: thePlan.Fingerprint, Codec: "json", Input: []byte("input"), InputHash: []byte("hash"), CreatedAt: r.now(),
		},
		Fence: store.Fence{Owner: r.me},
		Head:  store.Head{State: store.Invoking, Frames: 1},
		Cells: []store.Cell{{ID: 1, Data: []byte("one")}, {ID: 2, Data: []byte("two")}},
	}
}

// create expects that there was none.
func (r *rig) create(x *store.Snapshot) {
	r.Helper()
	existing, err := r.s.Create(r.ctx, x)
	if existing != nil || err != nil {
		r.Fatalf("Create(%s): %v, %v; want that there was none", x.Key, existing, err)
	}
}

// make creates an execution, fresh but for the changes, and returns it as it is kept.
func (r *rig) make(id string, changes ...func(x *store.Snapshot)) *store.Snapshot {
	r.Helper()
	x := r.fresh(id)
	for _, change := range changes {
		change(x)
	}
	r.create(x)
	return r.load(x.Key)
}

func ownedBy(i store.Instance) func(x *store.Snapshot) {
	return func(x *store.Snapshot) { x.Owner = i }
}

func ownedByNobody(x *store.Snapshot) { x.Owner = store.Instance{} }

func dueAt(at time.Time) func(x *store.Snapshot) {
	return func(x *store.Snapshot) { x.DueAt = at }
}

func inState(s store.ExecutionState) func(x *store.Snapshot) {
	return func(x *store.Snapshot) { x.State = s }
}

func unsettled(x *store.Snapshot) { x.Unsettled = true }

func holding(x *store.Snapshot) { x.Holding = true }

func ofPlan(p store.PlanID) func(x *store.Snapshot) {
	return func(x *store.Snapshot) { x.Workflow, x.Fingerprint = p.Workflow, p.Fingerprint }
}

func (r *rig) load(key store.Key) *store.Snapshot {
	r.Helper()
	x, err := r.s.Load(r.ctx, key)
	if err != nil {
		r.Fatalf("Load(%s): %v", key, err)
	}
	return x
}

func (r *rig) wantGone(key store.Key) {
	r.Helper()
	if x, err := r.s.Load(r.ctx, key); !errors.Is(err, store.ErrNotFound) {
		r.Errorf("Load(%s): %s, %v; want %v", key, text(x), err, store.ErrNotFound)
	}
}

// write is a write that changes nothing of the execution but its revision.
func (r *rig) write(x *store.Snapshot) store.Write {
	return store.Write{Key: x.Key, Fence: x.Fence, ID: r.id(), Head: x.Head}
}

// commit makes one write.
func (r *rig) commit(w store.Write) error {
	r.Helper()
	errs := r.s.Commit(r.ctx, []store.Write{w})
	if len(errs) != 1 {
		r.Fatalf("Commit of one write: %d answers", len(errs))
	}
	return errs[0]
}

// put expects the write to be made, and returns the execution after it.
func (r *rig) put(w store.Write) *store.Snapshot {
	r.Helper()
	if err := r.commit(w); err != nil {
		r.Fatalf("Commit to %s under %s: %v", w.Key, fenceText(w.Fence), err)
	}
	return r.load(w.Key)
}

// wantFenced expects the write to be refused.
func (r *rig) wantFenced(what string, w store.Write) {
	r.Helper()
	if err := r.commit(w); !errors.Is(err, store.ErrFenced) {
		r.Errorf("%s: a write under %s is answered by %v, want %v", what, fenceText(w.Fence), err, store.ErrFenced)
	}
}

// finish has the execution finished, and lets it go.
func (r *rig) finish(x *store.Snapshot, changes ...func(h *store.Head)) *store.Snapshot {
	r.Helper()
	w := r.write(x)
	w.Head.State, w.Head.FinishedAt, w.Head.DueAt, w.Release = store.Done, r.now(), time.Time{}, true
	for _, change := range changes {
		change(&w.Head)
	}
	return r.put(w)
}

// letGo has nobody drive the execution, until it is due.
func (r *rig) letGo(x *store.Snapshot, due time.Time) *store.Snapshot {
	r.Helper()
	w := r.write(x)
	w.Head.DueAt, w.Release = due, true
	return r.put(w)
}

// asking is a claim of an instance that can drive thePlan.
func (r *rig) asking(i store.Instance) store.Claim {
	return store.Claim{Instance: i, ID: r.id(), Plans: []store.PlanID{thePlan}}
}

func (r *rig) claim(c store.Claim) []store.Claimed {
	r.Helper()
	list, err := r.s.Claim(r.ctx, c)
	if err != nil {
		r.Fatalf("Claim of %s: %v", c.Instance, err)
	}
	return list
}

// claimOne expects one execution to be claimed, the one with the key.
func (r *rig) claimOne(c store.Claim, key store.Key) store.Claimed {
	r.Helper()
	list := r.claim(c)
	if len(list) != 1 || list[0].Key != key {
		r.Fatalf("Claim of %s returned %s, want %s alone", c.Instance, ids(list), key)
	}
	return list[0]
}

// wantClaimed expects the executions with the ids to be claimed, in any order.
func (r *rig) wantClaimed(what string, c store.Claim, want ...string) []store.Claimed {
	r.Helper()
	list := r.claim(c)
	slices.Sort(want)
	if got := ids(list); got != strings.Join(want, " ") {
		r.Errorf("%s: Claim of %s returned %q, want %q", what, c.Instance, got, strings.Join(want, " "))
	}
	return list
}

// ids has the ids of executions, in their own order.
func ids(list []store.Claimed) string {
	var names []string
	for _, x := range list {
		names = append(names, x.ID)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func (r *rig) deliver(key store.Key, id string) {
	r.Helper()
	if err := r.s.Deliver(r.ctx, key, store.Message{ID: id, Data: []byte("says " + id)}); err != nil {
		r.Fatalf("Deliver to %s: %v", key, err)
	}
}

// wantInbox expects messages with the ids, in order.
func (r *rig) wantInbox(what string, key store.Key, want ...string) {
	r.Helper()
	list, err := r.s.Inbox(r.ctx, key)
	if err != nil {
		r.Fatalf("Inbox of %s: %v", key, err)
	}
	r.wantMessages(what+", the inbox", list, want)
	r.wantMessages(what+", loaded", r.load(key).Inbox, want)
}

func (r *rig) wantMessages(what string, list []store.Message, want []string) {
	r.Helper()
	var got []string
	for _, m := range list {
		got = append(got, m.ID)
		if string(m.Data) != "says "+m.ID {
			r.Errorf("%s: message %q says %q", what, m.ID, m.Data)
		}
	}
	if !slices.Equal(got, want) {
		r.Errorf("%s: %q, want %q", what, got, want)
	}
}

// eventually looks until the answer is yes, and ends the test with what it saw last when
// that never comes.
func (r *rig) eventually(what string, look func() (yes bool, saw string)) {
	r.Helper()
	deadline := time.Now().Add(r.patience)
	for {
		yes, saw := look()
		if yes {
			return
		}
		if time.Now().After(deadline) {
			r.Fatalf("not within %s: %s; last seen: %s", r.patience, what, saw)
		}
		time.Sleep(pollInterval)
	}
}
