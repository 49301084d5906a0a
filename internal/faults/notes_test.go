package faults

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/lockstep-dev/lockstep/store"
)

// note is something that has happened, in the file that all processes of a run write to.
type note struct {
	Process int // which process of the run, counted from 1
	What    what
	// Root is the execution that a caller has asked for; a note of its child has the same.
	// It is empty for a compensation whose input nobody knows.
	Root string `json:",omitempty"`

	// The rest is of bodies.
	Execution, Step, Key string            `json:",omitempty"`
	Nonce                string            `json:",omitempty"` // tells this attempt from any other
	Undo                 bool              `json:",omitempty"`
	By                   map[string]string `json:",omitempty"` // whose results it was given: step, and nonce of the attempt
	Tokens               map[string]uint64 `json:",omitempty"` // of the locks that it runs under
	// Error is what a body, or an execution, has come to. Of the latter, the others say
	// what it is.
	Error                string               `json:",omitempty"`
	Planned, Lost, Crash bool                 `json:",omitempty"`
	State                store.ExecutionState `json:",omitempty"`
}

// what has happened.
type what string

const (
	asks     what = "asks"     // a caller is about to ask for an execution
	answered what = "answered" // it was told the end
	begins   what = "begins"   // a body
	returns  what = "returns"
	refused  what = "refused" // a body that did not get the lock that it stands under
)

// notes is the file. What was written outlives its process, however that ends.
type notes struct {
	mu      sync.Mutex
	file    *os.File
	process int
	count   int
}

func notesIn(dir string) string { return filepath.Join(dir, "notes.jsonl") }

func openNotes(dir string, process int) (*notes, error) {
	f, err := os.OpenFile(notesIn(dir), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return &notes{file: f, process: process}, err
}

func (l *notes) add(n note) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n.Process = l.process
	line, err := json.Marshal(n)
	if err == nil {
		_, err = l.file.Write(append(line, '\n'))
	}
	if err != nil {
		panic(fmt.Sprintf("faults: write a note: %v", err))
	}
}

// nonce tells an attempt from any other of any process.
func (l *notes) nonce() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	return fmt.Sprintf("%d.%d", l.process, l.count)
}

func (l *notes) close() error { return l.file.Close() }

// readNotes reads those of the kinds that are named, or all.
func readNotes(dir string, kinds ...what) (list []note, err error) {
	f, err := os.Open(notesIn(dir))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if !isOf(lines.Bytes(), kinds) {
			continue
		}
		var n note
		if err := json.Unmarshal(lines.Bytes(), &n); err != nil {
			return nil, fmt.Errorf("note %d: %w: %q", len(list)+1, err, lines.Text())
		}
		list = append(list, n)
	}
	return list, lines.Err()
}

// isOf looks what is noted without reading it all: a process that starts has little time.
func isOf(line []byte, kinds []what) bool {
	_, rest, _ := bytes.Cut(line, []byte(`"What":"`))
	return len(kinds) == 0 || slices.ContainsFunc(kinds, func(k what) bool { return bytes.HasPrefix(rest, []byte(k)) })
}

func mustRead(t *testing.T, dir string) []note {
	t.Helper()
	list, err := readNotes(dir)
	if err != nil {
		t.Fatal(err)
	}
	return list
}
