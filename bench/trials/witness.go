package trials

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// witness counts who is inside a section, over all processes: it is memory that they
// share. So each turn of each caller is checked, and the server, which is measured,
// does not notice.
type witness struct {
	memory []byte
	shared *sharedCounts
}

// sharedCounts lies at the beginning of the shared memory.
type sharedCounts struct {
	inside   atomic.Int64
	token    atomic.Uint64 // the last
	together atomic.Int64  // how often somebody was inside already
	stale    atomic.Int64  // how often a token did not rise
}

const witnessSize = 4096

// newWitness makes the file that the processes share.
func newWitness(dir string) (path string, w *witness, err error) {
	path = filepath.Join(dir, "witness")
	if err := os.WriteFile(path, make([]byte, witnessSize), 0o600); err != nil {
		return "", nil, err
	}
	w, err = openWitness(path)
	return path, w, err
}

func openWitness(path string) (w *witness, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // the path is the parent's own
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }() // the mapping outlives it
	memory, err := syscall.Mmap(int(f.Fd()), 0, witnessSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("trials: map the witness: %w", err)
	}
	return &witness{memory, (*sharedCounts)(unsafe.Pointer(&memory[0]))}, nil //nolint:gosec // a page is aligned for it
}

func (w *witness) close() error { return syscall.Munmap(w.memory) }

// pass goes in and out. A token of 0 is none.
func (w *witness) pass(token uint64) {
	if w.shared.inside.Add(1) != 1 {
		w.shared.together.Add(1)
	}
	if token != 0 && w.shared.token.Swap(token) >= token {
		w.shared.stale.Add(1)
	}
	w.shared.inside.Add(-1)
}

// verdict returns an error when the lock did not exclude.
func (w *witness) verdict(name string) error {
	if together, stale := w.shared.together.Load(), w.shared.stale.Load(); together+stale > 0 {
		return fmt.Errorf("MUTUAL EXCLUSION VIOLATED by %s: %d times a caller found another inside, %d times a token did not rise", name, together, stale)
	}
	return nil
}
