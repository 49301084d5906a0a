package lockhistory

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// Judge says how a history is judged.
type Judge struct {
	// Lossy says that answers were lost, so that calls were sent again.
	Lossy bool
	// Bound is how long the search may take for one key; more is a fault.
	Bound time.Duration
	// Dir is where pictures of what is wrong are written; empty is nowhere.
	Dir string
}

// Unexplained begins a fault that the search found, behind the key's name.
const Unexplained = "no order explains its answers"

// Verdict is what was found.
type Verdict struct {
	Faults []string
	Keys   int
	// Pairs is how many times one request was seen waiting before another one asked.
	Pairs int
	// Rejoined is how many joins were told as grants of their own after an answer was lost.
	Rejoined int
	// Excused is how many times a turn was excused, by reason.
	Excused map[string]int
	Search  time.Duration // by porcupine, over all keys
	Longest time.Duration // of one key
}

// Check judges a history.
func (j Judge) Check(h History) Verdict {
	h.Troubles = append(h.Troubles, slowCalls(&h)...)
	v := Verdict{Excused: map[string]int{}}
	for _, t := range h.Troubles {
		v.Excused[t.What]++
	}
	keys := byKey(&h, j.Lossy)
	v.Keys = len(keys)
	next := make(chan *key)
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for k := range next {
				pairs, took, faults := j.judge(k, h.Troubles)
				mu.Lock()
				v.Pairs += pairs
				v.Rejoined += k.rejoined
				v.Search += took
				v.Longest = max(v.Longest, took)
				v.Faults = append(v.Faults, faults...)
				mu.Unlock()
			}
		})
	}
	for _, k := range keys {
		next <- k
	}
	close(next)
	workers.Wait()
	return v
}

// judge judges one key.
func (j Judge) judge(k *key, troubles []Trouble) (pairs int, took time.Duration, faults []string) {
	pairs, faults = k.inOrder(troubles)
	for _, rule := range []func() []string{k.answered, k.oneCaller, k.tokensRise, k.exclude} {
		faults = append(faults, rule()...)
	}
	began := time.Now()
	ops := k.operations()
	result := porcupine.CheckOperationsTimeout(Model(), ops, j.Bound)
	took = time.Since(began)
	switch result {
	case porcupine.Ok:
	case porcupine.Unknown:
		faults = append(faults, fmt.Sprintf("the search among %d operations took longer than %s", len(ops), j.Bound))
	case porcupine.Illegal:
		faults = append(faults, Unexplained+": "+j.picture(k, ops))
	}
	for i := range faults {
		faults[i] = fmt.Sprintf("%q: %s", k.name, faults[i])
	}
	return pairs, took, faults
}

// picture draws what cannot be explained, and says where that is, and which operation
// did not fit into the longest explanation.
func (j Judge) picture(k *key, ops []porcupine.Operation) string {
	_, info := porcupine.CheckOperationsVerbose(Model(), ops, j.Bound)
	var longest []porcupine.Operation
	for _, p := range info.PartialLinearizationsOperations()[0] {
		if len(p) > len(longest) {
			longest = p
		}
	}
	said := stuck(ops, longest)
	if j.Dir == "" {
		return said
	}
	f, err := os.CreateTemp(j.Dir, "history-*-"+filepath.Base(clean(k.name))+".html")
	if err == nil {
		err = porcupine.Visualize(Model(), info, f)
	}
	if err != nil {
		return fmt.Sprintf("%s (no picture: %v)", said, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Sprintf("%s (no picture: %v)", said, err)
	}
	return said + "; see " + f.Name()
}

// clean makes a key a part of a file's name.
func clean(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '*' || r == '/' || r == os.PathSeparator {
			return '-'
		}
		return r
	}, name)
}

// stuck names the state that the longest explanation leads to, and the operations that
// had to come next.
func stuck(ops, longest []porcupine.Operation) string {
	s := state{}
	done := map[any]bool{}
	for _, op := range longest {
		_, s = s.step(op.Input.(*step)) //nolint:forcetypeassert // it is ours
		done[op.Input] = true
	}
	first := int64(Never)
	for _, op := range ops {
		if !done[op.Input] {
			first = min(first, op.Return)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "after %d of %d operations %s, and there remain", len(longest), len(ops), s)
	n := 0
	for _, op := range ops {
		if !done[op.Input] && op.Call <= first {
			if n++; n > 4 {
				b.WriteString(" …")
				break
			}
			fmt.Fprintf(&b, " [%v]", op.Input)
		}
	}
	return b.String()
}
