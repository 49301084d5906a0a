package faults

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow/workflowtest"
)

// judge looks through the notes of a run.
type judge struct {
	testing.TB

	kinds []kind
	seed  uint64
	notes []note
	// roots are the notes of each execution that a caller has asked for, in order.
	roots map[string][]note
	// counts say what became of them.
	counts map[string]int
}

// newJudge finds out for which root each note is: a compensation after an attempt that
// nobody knows the end of has no input.
func newJudge(t testing.TB, kinds []kind, seed uint64, notes []note) *judge {
	j := &judge{TB: t, kinds: kinds, seed: seed, notes: notes, roots: map[string][]note{}, counts: map[string]int{}}
	of := map[string]string{}
	for _, n := range notes {
		if n.Root != "" && n.Execution != "" {
			of[n.Execution] = n.Root
		}
	}
	for i := range j.notes {
		n := &j.notes[i]
		if n.Root == "" {
			n.Root = of[n.Execution]
		}
		if n.Root == "" {
			j.Errorf("nobody has asked for what %+v is of", n)
		}
		j.roots[n.Root] = append(j.roots[n.Root], *n)
	}
	return j
}

func (j *judge) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d notes of %d executions", len(j.notes), len(j.roots))
	for _, what := range slices.Sorted(maps.Keys(j.counts)) {
		fmt.Fprintf(&b, ", %d %s", j.counts[what], what)
	}
	return b.String()
}

// all judges everything. The states are what the store has, by id.
func (j *judge) all(states map[string]store.ExecutionState) {
	for _, root := range slices.Sorted(maps.Keys(j.roots)) {
		j.root(root, states[root])
	}
	j.locks()
}

// root judges an execution that was asked for, together with its child.
func (j *judge) root(root string, state store.ExecutionState) {
	own := j.roots[root]
	end, ok := j.end(root, state)
	if !ok {
		return
	}
	name, _, _ := strings.Cut(root, "-")
	k := j.kinds[slices.IndexFunc(j.kinds, func(k kind) bool { return k.name == name })]
	for _, chain := range k.chains {
		if h := history(own, chain); end.State == store.Done {
			h.Done(j, root, chain...)
		} else {
			h.Undone(j, root, chain...)
		}
	}
	j.known(root, k)
	j.results(root, k, end)
	j.order(root)
}

// end judges what callers were told: every time the same, as planned but for guards that
// are lost and steps that are taken to kill their process, and what the store has.
func (j *judge) end(root string, state store.ExecutionState) (end note, ok bool) {
	for _, n := range j.roots[root] {
		switch {
		case n.What != answered:
		case !ok:
			end, ok = n, true
		case n.State != end.State || n.Planned != end.Planned || n.Lost != end.Lost || !maps.Equal(n.By, end.By):
			j.Errorf("%s: a caller was told %+v, and later %+v (I9)", root, end, n)
		}
	}
	name, digits, _ := strings.Cut(root, "-")
	var number int
	fmt.Sscan(digits, &number)
	k := j.kinds[slices.IndexFunc(j.kinds, func(k kind) bool { return k.name == name })]
	fails := jobOf(j.seed, k, number).Fails != ""
	switch {
	case !ok:
		j.Errorf("%s: it has not ended", root)
		return end, false
	case state != end.State:
		j.Errorf("%s: a caller was told that it is %s, and the store has %q", root, end.State, state)
	case end.State == store.Done && fails:
		j.Errorf("%s: it is done, and a step of it fails", root)
	case end.State != store.Done && !end.Planned && !end.Lost && !end.Crash:
		j.Errorf("%s: it has come to %s", root, end.Error)
	case end.State == store.Failed:
		j.Errorf("%s: a compensation has failed: %s", root, end.Error)
	}
	j.counts[string(end.State)]++
	for what, is := range map[string]bool{"as planned": end.Planned, "with a lost guard": end.Lost, "of a crash loop": end.Crash} {
		if is {
			j.counts[what]++
		}
	}
	return end, true
}

// history is what a ledger would have of the steps of a chain.
func history(own []note, chain []string) (h workflowtest.History) {
	for _, n := range own {
		if (n.What == begins || n.What == returns) && slices.Contains(chain, n.Step) {
			h = append(h, workflowtest.Entry{
				Execution: n.Root, Step: n.Step, Key: n.Key, Undo: n.Undo, Returned: n.What == returns, Error: n.Error,
			})
		}
	}
	return h
}

func (j *judge) known(root string, k kind) {
	for _, n := range j.roots[root] {
		if n.Step != "" && !slices.Contains(k.steps(), n.Step) {
			j.Errorf("%s: it has no step %q", root, n.Step)
		}
	}
}

// results judges what was recorded: of each step one result, which all have seen that came
// after it, and which an attempt has returned.
func (j *judge) results(root string, k kind, end note) {
	returned := map[string]string{} // nonce to error
	for _, n := range j.roots[root] {
		if n.What == returns && !n.Undo {
			returned[n.Nonce] = n.Error
		}
	}
	recorded := map[string]string{}
	for _, n := range j.roots[root] {
		for _, step := range slices.Sorted(maps.Keys(n.By)) {
			nonce := n.By[step]
			failure, ok := returned[nonce]
			switch {
			case n.Undo && step == n.Step && ok: // it is told what failed, too
			case !ok || failure != "":
				j.Errorf("%s: %q sees of %q the result of an attempt %s that has not returned one (%s)", root, n.Step, step, nonce, failure)
			}
			if failure == "" && recorded[step] != "" && recorded[step] != nonce {
				j.Errorf("%s: of %q two results were recorded: of attempts %s and %s (I1)", root, step, recorded[step], nonce)
			}
			recorded[step] = nonce
		}
	}
	if end.State != store.Done {
		return
	}
	for _, step := range k.steps() {
		if end.By[step] == "" {
			j.Errorf("%s: its result does not have that of %q", root, step)
		}
	}
}

// order judges what holds over all branches: no step begins when one was undone, and
// nothing does when a caller was told the end.
func (j *judge) order(root string) {
	var undone, over *note
	for i := range j.roots[root] {
		n := &j.roots[root][i]
		switch {
		case n.What == answered && over == nil:
			over = n
		case n.What != begins:
		case over != nil:
			j.Errorf("%s: %q begins when a caller was told the end", root, n.Step)
		case n.Undo && undone == nil:
			undone = n
		case !n.Undo && undone != nil:
			j.Errorf("%s: %q begins when %q was being undone (I4)", root, n.Step, undone.Step)
		}
	}
}
