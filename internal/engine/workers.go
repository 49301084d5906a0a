package engine

import (
	"runtime"
	"sync"
)

// mostIdle is how many goroutines are kept for later: a few for each processor.
var mostIdle = 4 * runtime.GOMAXPROCS(0)

// workers are goroutines that have runs. They are used again, the latest first: their
// stacks have grown by then.
type workers struct {
	mu   sync.Mutex
	idle []*worker
	over bool
}

type worker struct{ jobs chan job }

// job is a run that is to be worked at, or an attempt that is to be made.
type job struct {
	r *Run
	f *flight // nil: the run's mail is to be handled
}

func (j job) do() {
	if j.f != nil {
		j.r.fly(j.f)
		return
	}
	j.r.work()
}

// do has a job done in another goroutine.
func (w *workers) do(j job) {
	w.mu.Lock()
	if n := len(w.idle); n > 0 {
		free := w.idle[n-1]
		w.idle = w.idle[:n-1]
		w.mu.Unlock()
		free.jobs <- j
		return
	}
	w.mu.Unlock()
	go w.work(j)
}

func (w *workers) work(j job) {
	self := &worker{jobs: make(chan job, 1)}
	for ok := true; ok; j, ok = <-self.jobs {
		j.do()
		w.mu.Lock()
		if w.over || len(w.idle) == mostIdle {
			w.mu.Unlock()
			return
		}
		w.idle = append(w.idle, self)
		w.mu.Unlock()
	}
}

// stop ends those that are idle; others end when they have nothing to do.
func (w *workers) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	for _, free := range w.idle {
		close(free.jobs)
	}
	w.idle = nil
}
