package simulation

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lockstep-dev/lockstep/store"
)

// kinds is all that has to occur in the histories of the default seeds: a kind that does
// not occur is a promise that nothing tests any more.
var kinds = func() (list []string) {
	list = []string{
		// What goes wrong.
		"an instance dies before it sends", "an instance dies before it hears the answer", "an instance dies in a body",
		"a request is lost", "a reply is lost", "a request arrives though nobody waits for it", "a request comes twice",
		"a request comes again late", "a message takes long", "an instance is cut off", "an instance freezes",
		"a heartbeat gets no answer", "a notice is lost", "a notice comes twice", "the clock of the store jumps forward",
		"the clock of the store jumps back", "an instance is stopped", "an instance loses its lease", "a lock is forgotten", "a lock is taken by force",
		"a write of a stale owner is refused", "an execution is refused to an instance without a lease",
		// What is asked from outside.
		"cancel", "resume", "a result comes from outside", "a failure comes from outside",
		// What comes of it.
		"an attempt is suspected", "a step is a crash loop", "a guard loses its locks", "a guard is compensated under new locks",
		"a guard has lost a lock and awaits its attempts", "a guard takes its locks again",
		"a body is left behind", "an execution is done", "an execution is reverted", "an execution is failed", "an execution rests",
	}
	for _, v := range []verb{doVerb, asyncVerb, transformVerb, parallelVerb, whenVerb, whenElseVerb, sleepVerb, guardVerb, eachVerb, callVerb} {
		list = append(list, "verb "+string(v), "verb "+string(v)+" is undone")
	}
	// They have no undoing.
	list = slices.DeleteFunc(list, func(k string) bool {
		return k == "verb transform is undone" || k == "verb sleep is undone"
	})
	for _, e := range []ending{succeeds, fails, forGood, later, keeps, skips, panics, exits, kills} {
		list = append(list, "a body "+string(e))
	}
	return list
}()

// tally counts what occurs.
type tally struct {
	mu sync.Mutex
	of map[string]int
}

func (t *tally) note(kind string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = map[string]int{}
	}
	t.of[kind]++
}

// add adds what has occurred in a history.
func (t *tally) add(h *tally) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for kind, n := range h.of {
		t.mu.Lock()
		if t.of == nil {
			t.of = map[string]int{}
		}
		t.of[kind] += n
		t.mu.Unlock()
	}
}

// judge wants each kind to have occurred.
func (t *tally) judge(tb testing.TB) {
	tb.Helper()
	for _, kind := range kinds {
		if t.of[kind] == 0 {
			tb.Errorf("it does not occur any more that %s", kind)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(t.of)) {
		if !slices.Contains(kinds, kind) {
			tb.Errorf("%q is counted, and is no kind", kind)
		}
		tb.Logf("%7d times: %s", t.of[kind], kind)
	}
}

// tallyNode counts what a write says of a node.
func (m *mirror) tallyNode(at store.Place, was, now store.Node) {
	v, note := string(m.spec(at).verb), m.w.tally.note
	reverted := now.Compensate.State == store.StepReverted && was.Compensate.State != store.StepReverted
	relocks := now.Compensate.Waits == store.WaitingForLock && was.Compensate.Waits != store.WaitingForLock
	switch guard := m.spec(at).verb == guardVerb; {
	case now.Invoke.State != store.StepNone && was.Invoke.State == store.StepNone:
		note("verb " + v)
	case reverted:
		note("verb " + v + " is undone")
	case guard && relocks:
		note("a guard is compensated under new locks")
	}
	waited, waits := unheld(was), unheld(now)
	switch {
	case !waited && waits && now.Ticket == "":
		note("a guard has lost a lock and awaits its attempts")
	case waited && !waits && len(now.Holds) > 0:
		note("a guard takes its locks again")
	}
	if m.spec(at).verb == guardVerb && len(was.Holds) > 0 && len(now.Holds) == 0 && now.Invoke.State == store.StepInvoking && !reverted {
		note("a guard loses its locks")
	}
	if now.Invoke.Suspect && !was.Invoke.Suspect || now.Compensate.Suspect && !was.Compensate.Suspect {
		note("an attempt is suspected")
	}
}

// tallyFailure counts what a write says of a failure.
func (m *mirror) tallyFailure(f store.Failure) {
	switch {
	case slices.ContainsFunc(f.Chain, func(r store.ErrorRecord) bool { return strings.Contains(r.Type, "CrashLoop") }):
		m.w.tally.note("a step is a crash loop")
	case strings.Contains(f.Message, "did not return after its context had ended"):
		m.w.tally.note("a body is left behind")
	}
}
