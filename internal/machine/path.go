package machine

import (
	"slices"
	"strconv"
	"strings"

	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

// items says in which frame of each loop around it a place is, from the outermost on.
func items(v viewer, at store.Place) []int {
	var list []int
	for id := at.Frame; id != 0; {
		f := v.frame(id)
		if v.plan().Nodes[f.Parent.Node].Kind == plan.EachNode {
			list = append(list, f.Branch)
		}
		id = f.Parent.Frame
	}
	slices.Reverse(list)
	return list
}

// Items says in which frame of each loop around it a place is, from the outermost on.
func (s *State) Items(at store.Place) []int { return items(settled{s}, at) }

// Path is the path of a place for people to read: that of its node, with its items.
func (s *State) Path(at store.Place) string {
	path := s.Plan.Nodes[at.Node].Path
	if list := s.Items(at); len(list) > 0 {
		path += indices(list)
	}
	return path
}

// PlaceKey is the path of a place with no two places alike, whatever bytes names hold.
func (s *State) PlaceKey(at store.Place) string { return key(settled{s}, at) }

func (t *transition) key(at store.Place) string { return key(t, at) }

var keyEscaper = strings.NewReplacer("%", "%25", "[", "%5B")

func key(v viewer, at store.Place) string {
	path := v.plan().Nodes[at.Node].Path
	if strings.IndexByte(path, '%') >= 0 || strings.IndexByte(path, '[') >= 0 {
		path = keyEscaper.Replace(path)
	}
	if list := items(v, at); len(list) > 0 {
		path += indices(list)
	}
	return path
}

func indices(list []int) string {
	var b strings.Builder
	for _, i := range list {
		b.WriteString("[" + strconv.Itoa(i) + "]")
	}
	return b.String()
}

// Find returns the place of a node by its path and the items of the loops around it.
// It answers false for a place that has not begun, or is none.
func (s *State) Find(path string, list []int) (store.Place, bool) {
	i := slices.IndexFunc(s.Plan.Nodes, func(n plan.Node) bool { return n.Path == path })
	if i < 0 || len(s.frames) == 0 {
		return store.Place{}, false
	}
	var around []int // the sequences around it, the innermost first
	for q := s.Plan.Nodes[i].Sequence; q != 0; q = s.Plan.Nodes[s.Plan.Sequences[q].Owner].Sequence {
		around = append(around, q)
	}
	var id store.FrameID
	for _, q := range slices.Backward(around) {
		owner := s.Plan.Sequences[q].Owner
		n, begun := s.Node(store.Place{Frame: id, Node: owner})
		branch := 0
		switch s.Plan.Nodes[owner].Kind {
		case plan.EachNode:
			if len(list) == 0 {
				return store.Place{}, false
			}
			branch, list = list[0], list[1:]
		case plan.ParallelNode:
			branch = slices.Index(s.Plan.Nodes[owner].Branches, q)
		}
		if !begun || branch < 0 || branch >= n.Count || s.frames[n.First+store.FrameID(branch)].Sequence != q {
			return store.Place{}, false
		}
		id = n.First + store.FrameID(branch)
	}
	at := store.Place{Frame: id, Node: i}
	_, begun := s.Node(at)
	return at, begun && len(list) == 0
}

// Steps calls yield for each step: those of the frames there are in the order of the
// plan, begun or not.
func (s *State) Steps(yield func(path string, n store.Node) bool) {
	if len(s.frames) > 0 {
		s.steps(0, yield)
	}
}

func (s *State) steps(id store.FrameID, yield func(path string, n store.Node) bool) bool {
	for _, i := range s.Plan.Sequences[s.frames[id].Sequence].Nodes {
		at := store.Place{Frame: id, Node: i}
		n, begun := s.Node(at)
		if !begun {
			n.Invoke.State = store.StepNotStarted
		}
		if s.Plan.Nodes[i].Kind == plan.StepNode {
			if n.Compensate.State == store.StepNone {
				n.Compensate.State = store.StepDormant
			}
			if !yield(s.Path(at), n) {
				return false
			}
		}
		for b := range n.Count {
			if !s.steps(n.First+store.FrameID(b), yield) {
				return false
			}
		}
	}
	return true
}

// Holds returns the locks that the execution has.
func (s *State) Holds() []store.Hold {
	var all []store.Hold
	for _, f := range s.frames {
		all = append(all, f.Holds...)
		for i := range f.nodes {
			n := &f.nodes[i]
			all = append(all, n.Holds...)
		}
	}
	return all
}

// GuardHolds calls yield for each guard that has locks, the outermost ones first.
func (s *State) GuardHolds(yield func(at store.Place, holds []store.Hold) bool) {
	for id, f := range s.frames {
		for pos := range f.nodes {
			n := &f.nodes[pos]
			i := s.Plan.Sequences[f.Sequence].Nodes[pos]
			if s.Plan.Nodes[i].Kind != plan.GuardNode || len(n.Holds) == 0 {
				continue
			}
			if !yield(store.Place{Frame: store.FrameID(id), Node: i}, n.Holds) {
				return
			}
		}
	}
}
