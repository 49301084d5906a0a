package simulation

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// mirror is what the model makes of a record: it reads every write, by the flow that
// the execution is of, and asks nothing of the engine's own code but the encoding.
type mirror struct {
	w    *world
	x    *execution
	flow *flow
	name string

	head     store.Head
	frames   []store.Frame
	nodes    map[store.Place]store.Node
	failures []store.Failure
	outbox   map[uint32]store.Errand
	unclean  bool
	enabled  map[ordinal]*enabled
	turned   bool // it does not go forward any more
	resumed  bool // what had been compensated before was so in another round
	writes   int
	gone     bool
	errands  []store.Errand  // all that there have been
	tickets  map[string]bool // so have these
	deaths   map[deathsOf]int
	dropped  map[string]bool        // keys that a sequence had, and has no more in its midst
	ends     []store.ExecutionState // what it has ended as
}

// ordinal names one attempt of a step: they count over both phases.
type ordinal struct {
	at store.Place
	n  uint64
}

// enabled is an attempt that a durable write has enabled.
type enabled struct {
	invoke bool
	number int
	by     store.Instance
	epoch  uint64
	begun  *deed
}

func (m *mirror) spec(at store.Place) *spec { return m.flow.nodes[at.Node] }

func (m *mirror) parent(id store.FrameID) store.Place { return m.frames[id].Parent }

// items say in which frame of each loop a place is.
func (m *mirror) items(at store.Place) (list []int) {
	for id := at.Frame; id != 0; id = m.parent(id).Frame {
		if m.spec(m.parent(id)).verb == eachVerb {
			list = append(list, m.frames[id].Branch)
		}
	}
	slices.Reverse(list)
	return list
}

func (m *mirror) place(at store.Place) string {
	return m.spec(at).name + itemText(m.items(at))
}

func itemText(items []int) string {
	var b strings.Builder
	for _, i := range items {
		fmt.Fprintf(&b, "[%d]", i)
	}
	return b.String()
}

// find returns the place of a step.
func (m *mirror) find(n *spec, items []int) (store.Place, bool) {
	for at := range m.nodes {
		if at.Node == n.index && slices.Equal(m.items(at), items) {
			return at, true
		}
	}
	return store.Place{}, false
}

// sorted returns the places that have begun, in order.
func (m *mirror) sorted() []store.Place {
	list := make([]store.Place, 0, len(m.nodes))
	for at := range m.nodes {
		list = append(list, at)
	}
	slices.SortFunc(list, func(a, b store.Place) int {
		if a.Frame != b.Frame {
			return int(a.Frame) - int(b.Frame)
		}
		return a.Node - b.Node
	})
	return list
}

// change is a record that was written, to be read.
type change struct {
	m  *mirror
	at store.Place
	n  store.Node
}

func (c change) String() string {
	s := c.m.place(c.at) + "{"
	s += progressText("", c.n.Invoke) + progressText(" undo:", c.n.Compensate)
	if c.n.Unknown {
		s += " unknown"
	}
	if len(c.n.Keys) > 0 {
		s += fmt.Sprintf(" keys %v", c.n.Keys)
	}
	if c.n.Ticket != "" {
		s += " ticket"
	}
	s += holdText(" holds", c.n.Holds)
	if len(c.n.Output) > 0 {
		s += " = " + string(c.n.Output)
	}
	return fmt.Sprintf("%s #%d}", s, c.n.Attempts)
}

func progressText(what string, p store.Progress) string {
	if p == (store.Progress{}) {
		return ""
	}
	s := fmt.Sprintf("%s%s %d", what, p.State, p.Attempts)
	if p.Waits != store.NotWaiting {
		s += " waits for " + p.Waits.String()
	}
	if p.Suspect {
		s += " suspect"
	}
	if p.Deaths > 0 {
		s += fmt.Sprintf(" deaths %d", p.Deaths)
	}
	return s
}

type frameChange struct {
	m  *mirror
	id store.FrameID
	f  store.Frame
}

var frameStates = [...]string{"waits", "runs", "is done", "unwinds", "is undone"}

func (c frameChange) String() string {
	s := fmt.Sprintf("frame %d %s", c.id, frameStates[c.f.State])
	s += holdText(" holds", c.f.Holds)
	return s
}

type errandChange struct {
	m *mirror
	n uint32
	e *store.Errand
}

func (c errandChange) String() string {
	if c.e == nil {
		return fmt.Sprintf("errand %d done", c.n)
	}
	s := fmt.Sprintf("errand %d %s %s", c.n, c.e.Kind, c.m.w.uid(c.e.Target.ID))
	return s + holdText("", c.e.Holds)
}

// holdText lists holds, which are in no order.
func holdText(what string, holds []store.Hold) string {
	if len(holds) == 0 {
		return ""
	}
	list := make([]string, len(holds))
	for i, h := range holds {
		list[i] = fmt.Sprintf("%s:%d", h.Key, h.Token)
	}
	slices.Sort(list)
	return what + " " + strings.Join(list, " ")
}

func decodeVal(data []byte) (v val, err error) {
	if len(data) > 0 {
		err = json.Unmarshal(data, &v)
	}
	return v, err
}

// value is what a node gives in a frame; that of nil is what the frame was given.
func (m *mirror) value(id store.FrameID, s *seq, n *spec) (val, error) {
	if n == nil {
		return m.given(id, s)
	}
	at := store.Place{Frame: id, Node: n.index}
	rec := m.nodes[at]
	switch n.verb {
	case guardVerb, whenElseVerb:
		if rec.Count != 1 {
			return val{}, fmt.Errorf("%s has %d frames", m.place(at), rec.Count)
		}
		return m.value(rec.First, m.flow.seqs[m.frames[rec.First].Sequence], m.flow.seqs[m.frames[rec.First].Sequence].out)
	}
	return decodeVal(rec.Output)
}

// given is what a frame gets from around it.
func (m *mirror) given(id store.FrameID, s *seq) (val, error) {
	switch {
	case id == 0:
		return decodeVal(m.x.Input)
	case s.owner.verb == eachVerb:
		return decodeVal(m.frames[id].Item)
	}
	return m.value(m.parent(id).Frame, s.owner.seq, s.owner.in)
}

// branch is what the i-th frame of a node gives.
func (m *mirror) branch(rec store.Node, i int) (val, error) {
	id := rec.First + store.FrameID(i)
	q := m.flow.seqs[m.frames[id].Sequence]
	return m.value(id, q, q.out)
}

// deadlineText is used by probes.
func dueText(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Format("15:04:05.000")
}
