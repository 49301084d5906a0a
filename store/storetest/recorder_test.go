package storetest

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// recorder is a test that may fail without anybody minding.
type recorder struct {
	testing.TB

	mu       sync.Mutex
	failed   bool
	skipped  bool
	lines    []string
	cleanups []func()
}

// record runs a case and returns what became of it. What the case starts has ended by
// then.
func record(t *testing.T, subject Subject, c storeCase, twice bool) *recorder {
	t.Helper()
	var rec *recorder
	synctest.Test(t, func(t *testing.T) {
		rec = &recorder{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer rec.cleanUp()
			runCase(rec, subject, c, twice)
		}()
		<-done
	})
	return rec
}

func (r *recorder) cleanUp() {
	for {
		r.mu.Lock()
		if len(r.cleanups) == 0 {
			r.mu.Unlock()
			return
		}
		last := len(r.cleanups) - 1
		clean := r.cleanups[last]
		r.cleanups = slices.Delete(r.cleanups, last, last+1)
		r.mu.Unlock()
		clean()
	}
}

func (r *recorder) note(failed bool, line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = r.failed || failed
	if line != "" {
		r.lines = append(r.lines, line)
	}
}

func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines[:min(len(r.lines), 5)], "\n\t")
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *recorder) Helper()                      {}
func (r *recorder) Fail()                        { r.note(true, "") }
func (r *recorder) Log(args ...any)              { r.note(false, fmt.Sprint(args...)) }
func (r *recorder) Logf(f string, args ...any)   { r.note(false, fmt.Sprintf(f, args...)) }
func (r *recorder) Error(args ...any)            { r.note(true, fmt.Sprint(args...)) }
func (r *recorder) Errorf(f string, args ...any) { r.note(true, fmt.Sprintf(f, args...)) }
func (r *recorder) Fatal(args ...any)            { r.Error(args...); runtime.Goexit() }
func (r *recorder) Fatalf(f string, args ...any) { r.Errorf(f, args...); runtime.Goexit() }
func (r *recorder) FailNow()                     { r.Fail(); runtime.Goexit() }

func (r *recorder) Skip(args ...any) {
	r.Log(args...)
	r.skipped = true
	runtime.Goexit()
}
