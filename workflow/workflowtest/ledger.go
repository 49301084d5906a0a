package workflowtest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/lockstep-dev/lockstep/steps"
)

// longestLine bounds an entry, whose error may be long.
const longestLine = 64 << 20

// ledgerFile is its name in the folder of a history.
const ledgerFile = "ledger.jsonl"

// Ledger is where bodies of steps write down what they do, in a file that outlives their
// process. It may be used concurrently, and by several processes one after the other.
type Ledger struct {
	mu   sync.Mutex
	file *os.File
}

// Entry is the beginning or the end of a body.
type Entry struct {
	Workflow, Execution, Step string
	// Key is the body's idempotency key.
	Key     string
	Attempt int
	// Undo says that it is a compensation.
	Undo bool `json:",omitempty"`
	// Returned says that it is the end, and Error what it came to.
	Returned bool   `json:",omitempty"`
	Error    string `json:",omitempty"`
}

// OpenLedger opens the ledger in a folder, and makes one where there is none. It is closed
// with the test.
func OpenLedger(tb testing.TB, dir string) *Ledger {
	tb.Helper()
	f, err := os.OpenFile(filepath.Join(dir, ledgerFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // the caller's folder
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = f.Close() })
	return &Ledger{file: f}
}

// Enter notes that a body has begun. What it returns is to be called with the body's error
// when it returns. A ledger that cannot be written is a panic, and so the step's error.
func (l *Ledger) Enter(ctx *steps.Context) (leave func(error)) {
	e := Entry{
		Workflow: ctx.Workflow(), Execution: ctx.ExecutionID(), Step: ctx.Step(), Key: ctx.IdempotencyKey(),
		Attempt: ctx.Attempt(), Undo: ctx.Outcome() != "",
	}
	l.add(e)
	return func(err error) {
		if e.Returned = true; err != nil {
			e.Error = err.Error()
		}
		l.add(e)
	}
}

func (l *Ledger) add(e Entry) {
	line, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		panic(fmt.Sprintf("workflowtest: write the ledger: %v", err))
	}
}

// History is what a ledger has, in the order in which it was written.
type History []Entry

// ReadLedger reads the ledger in a folder.
func ReadLedger(tb testing.TB, dir string) History {
	tb.Helper()
	f, err := os.Open(filepath.Join(dir, ledgerFile)) //nolint:gosec // the caller's folder
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it was read only
	var h History
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		var e Entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			tb.Fatalf("ledger, line %d: %v: %q", len(h)+1, err, lines.Text())
		}
		h = append(h, e)
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	return h
}

// of returns the entries of an execution.
func (h History) of(execution string) (own History) {
	for _, e := range h {
		if e.Execution == execution {
			own = append(own, e)
		}
	}
	return own
}

// begins returns the places at which the bodies of a step begin, and whether the last of
// them has returned without an error.
func (h History) begins(step string, undo bool) (at []int, done bool) {
	for i, e := range h {
		switch {
		case e.Step != step || e.Undo != undo:
		case !e.Returned:
			at, done = append(at, i), false
		case e.Error == "":
			done = true
		}
	}
	return at, done
}

// Done judges an execution whose steps have run one after the other, as they are named, and
// that is done: each has had its effect, none was run again when the one behind it had
// begun, and nothing was undone.
func (h History) Done(tb testing.TB, execution string, inOrder ...string) {
	tb.Helper()
	own := h.of(execution)
	own.known(tb, execution, inOrder)
	own.keys(tb)
	own.sequence(tb, inOrder, false)
	for _, e := range own {
		if e.Undo {
			tb.Errorf("%s: %q was undone, and the execution is done", execution, e.Step)
		}
	}
	for _, step := range inOrder {
		if _, done := own.begins(step, false); !done {
			tb.Errorf("%s: %q has not had its effect, and the execution is done", execution, step)
		}
	}
}

// Undone judges an execution whose reversible steps have run one after the other, as they
// are named, as far as they have, and that was undone: whatever may have had an effect was
// undone, once what came behind it had been, and nothing has begun since.
func (h History) Undone(tb testing.TB, execution string, inOrder ...string) {
	tb.Helper()
	own := h.of(execution)
	own.known(tb, execution, inOrder)
	own.keys(tb)
	own.sequence(tb, inOrder, false)
	back := slices.Clone(inOrder)
	slices.Reverse(back)
	own.sequence(tb, back, true)
	turned := slices.IndexFunc(own, func(e Entry) bool { return e.Undo })
	for i, e := range own {
		if turned >= 0 && i > turned && !e.Undo && !e.Returned {
			tb.Errorf("%s: %q has begun when compensation had (I4)", execution, e.Step)
		}
	}
	for _, step := range inOrder {
		forward, _ := own.begins(step, false)
		undo, undone := own.begins(step, true)
		switch {
		case len(forward) == 0:
		case !undone:
			tb.Errorf("%s: %q may have had its effect, and was not undone", execution, step)
		case undo[len(undo)-1] < forward[len(forward)-1]:
			tb.Errorf("%s: %q was done again when it had been undone", execution, step)
		}
	}
}

// known wants the steps of an execution to be named: else a word that was mistyped would
// make everything right.
func (h History) known(tb testing.TB, execution string, inOrder []string) {
	tb.Helper()
	told := map[string]bool{}
	for _, e := range h {
		if !slices.Contains(inOrder, e.Step) && !told[e.Step] {
			told[e.Step] = true
			tb.Errorf("%s: %q has run, and is not among the steps that were named: %q", execution, e.Step, inOrder)
		}
	}
}

// sequence wants no body of a step to begin once one of those behind it has.
func (h History) sequence(tb testing.TB, inOrder []string, undo bool) {
	tb.Helper()
	for i, step := range inOrder {
		mine, _ := h.begins(step, undo)
		if len(mine) == 0 {
			continue
		}
		for _, later := range inOrder[i+1:] {
			if theirs, _ := h.begins(later, undo); len(theirs) > 0 && theirs[0] < mine[len(mine)-1] {
				tb.Errorf("%s: %q begins when %q, which comes behind it, has begun (I1, I5)", h[0].Execution, step, later)
			}
		}
	}
}

// keys wants each body to have one idempotency key, and no two to have the same. What runs
// once for each item of a list has a body, and so a key, for each.
func (h History) keys(tb testing.TB) {
	tb.Helper()
	type body struct {
		step string
		undo bool
	}
	owner := map[string]body{}
	for _, e := range h {
		b := body{e.Step, e.Undo}
		if other, known := owner[e.Key]; known && other != b {
			tb.Errorf("%s: %q and %q have the same idempotency key %q (I1)", e.Execution, other.step, e.Step, e.Key)
		}
		owner[e.Key] = b
	}
}
