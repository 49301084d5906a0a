package faults

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/store"
)

// jury is a test that is expected to fail.
type jury struct {
	testing.TB

	faults []string
}

func (j *jury) Errorf(format string, args ...any) {
	j.faults = append(j.faults, fmt.Sprintf(format, args...))
}

// wants looks for one fault with the text, or for none where that is empty.
func (j *jury) wants(t *testing.T, text string) {
	t.Helper()
	if text == "" && len(j.faults) > 0 || text != "" && !slices.ContainsFunc(j.faults, func(f string) bool { return strings.Contains(f, text) }) {
		t.Errorf("%q\nwant %q", j.faults, text)
	}
}

// told writes the notes of parcels.
type told struct {
	notes []note
	count int
	by    map[string]string // of the execution that is told of
}

func (h *told) add(n note) *note {
	n.Process = max(n.Process, 1)
	h.notes = append(h.notes, n)
	return &h.notes[len(h.notes)-1]
}

func (h *told) asks(root string) {
	h.by = map[string]string{}
	h.add(note{What: asks, Root: root})
}

// body tells of a body that succeeds; a token of zero is none.
func (h *told) body(root, step string, undo bool, token uint64) {
	h.begins(root, step, undo, token)
	h.returns(root, step, undo)
}

func (h *told) begins(root, step string, undo bool, token uint64) {
	h.count++
	n := note{What: begins, Root: root, Execution: root, Step: step, Key: fmt.Sprint(root, step, undo), Nonce: fmt.Sprint(h.count), Undo: undo, By: clone(h.by)}
	if token > 0 {
		n.Tokens = map[string]uint64{"prod_1": token}
	}
	h.add(n)
}

func (h *told) returns(root, step string, undo bool) {
	nonce := fmt.Sprint(h.count)
	if !undo {
		h.by[step] = nonce
	}
	h.add(note{What: returns, Root: root, Execution: root, Step: step, Key: fmt.Sprint(root, step, undo), Nonce: nonce, Undo: undo})
}

func clone(m map[string]string) map[string]string { return merge(pass{By: m}).By }

func (h *told) done(root string) {
	h.add(note{What: answered, Root: root, State: store.Done, By: clone(h.by)})
}

func (h *told) reverted(root string) {
	h.add(note{What: answered, Root: root, State: store.Reverted, Planned: true, Error: "as planned"})
}

// parcel is one that is done.
func (h *told) parcel(root string, token uint64) {
	h.asks(root)
	h.body(root, "wrap", false, 0)
	h.body(root, "weigh", false, token)
	h.body(root, "stamp", false, token)
	h.done(root)
}

// unpacked is one that is undone.
func (h *told) unpacked(root string, token uint64, undone ...string) {
	h.asks(root)
	h.body(root, "wrap", false, 0)
	h.body(root, "weigh", false, token)
	for _, step := range undone {
		h.body(root, step, true, map[string]uint64{"weigh": token}[step])
	}
	h.reverted(root)
}

// aSeed is one in which parcels 0 and 1 have no step that fails, as they would have to.
func aSeed(t *testing.T, kinds []kind) (seed uint64) {
	t.Helper()
	for ; seed < 1000; seed++ {
		if jobOf(seed, kinds[2], 0).Fails == "" && jobOf(seed, kinds[2], 1).Fails == "" {
			return seed
		}
	}
	t.Fatal("no seed is as wanted")
	return 0
}

func TestJudgeFindsWhatIsWrong(t *testing.T) {
	kinds := kinds(&world{})
	seed := aSeed(t, kinds)
	done := map[string]store.ExecutionState{"parcel-0": store.Done, "parcel-1": store.Done}
	undone := map[string]store.ExecutionState{"parcel-0": store.Reverted}
	for name, c := range map[string]struct {
		tell   func(h *told)
		states map[string]store.ExecutionState
		want   string
	}{
		"two that are done":         {func(h *told) { h.parcel("parcel-0", 1); h.parcel("parcel-1", 2) }, done, ""},
		"one that is undone":        {func(h *told) { h.unpacked("parcel-0", 1, "weigh", "wrap") }, undone, ""},
		"one without an end":        {func(h *told) { h.asks("parcel-0") }, done, "it has not ended"},
		"one that the store lost":   {func(h *told) { h.parcel("parcel-0", 1) }, nil, `the store has ""`},
		"a compensation is missing": {func(h *told) { h.unpacked("parcel-0", 1, "weigh") }, undone, `"wrap" may have had its effect`},
		"compensated in order":      {func(h *told) { h.unpacked("parcel-0", 1, "wrap", "weigh") }, undone, "(I1, I5)"},
		"two answers": {func(h *told) {
			h.parcel("parcel-0", 1)
			h.reverted("parcel-0")
		}, done, "(I9)"},
		"a step that begins behind the end": {func(h *told) {
			h.parcel("parcel-0", 1)
			h.body("parcel-0", "stamp", false, 1)
		}, done, "begins when a caller was told the end"},
		"a result that was recorded twice": {func(h *told) {
			h.asks("parcel-0")
			h.body("parcel-0", "wrap", false, 0)
			h.body("parcel-0", "weigh", false, 1)
			h.body("parcel-0", "wrap", false, 0)
			h.body("parcel-0", "stamp", false, 1)
			h.done("parcel-0")
		}, done, "two results were recorded"},
		"a result of an attempt that has died": {func(h *told) {
			h.asks("parcel-0")
			h.begins("parcel-0", "wrap", false, 0)
			h.by["wrap"] = fmt.Sprint(h.count)
			h.body("parcel-0", "wrap", false, 0)
			h.body("parcel-0", "weigh", false, 1)
			h.by["wrap"] = "1"
			h.body("parcel-0", "stamp", false, 1)
			h.done("parcel-0")
		}, done, "that has not returned one"},
		"forward when compensation has begun": {func(h *told) {
			h.asks("parcel-0")
			h.body("parcel-0", "wrap", false, 0)
			h.body("parcel-0", "wrap", true, 0)
			h.body("parcel-0", "weigh", false, 1)
			h.body("parcel-0", "weigh", true, 1)
			h.reverted("parcel-0")
		}, undone, "(I4)"},
		"an older token":   {func(h *told) { h.parcel("parcel-0", 2); h.parcel("parcel-1", 1) }, done, "when 2 was there (I7)"},
		"one token of two": {func(h *told) { h.parcel("parcel-0", 1); h.parcel("parcel-1", 1) }, done, "have one token"},
		"two at once": {func(h *told) {
			h.asks("parcel-0")
			h.begins("parcel-0", "weigh", false, 1)
			h.asks("parcel-1")
			h.begins("parcel-1", "weigh", false, 2)
		}, nil, `while "weigh" of parcel-0 runs (I7)`},
		"two in turns": {func(h *told) {
			h.asks("parcel-0")
			h.body("parcel-0", "weigh", false, 1)
			h.asks("parcel-1")
			h.body("parcel-1", "weigh", false, 2)
			h.body("parcel-0", "stamp", false, 3)
		}, nil, "in turns (I7)"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &told{}
			c.tell(h)
			j := &jury{TB: t}
			newJudge(j, kinds, seed, h.notes).all(c.states)
			j.wants(t, c.want)
		})
	}
}
