package lockhistory

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Everyone as the process of a [Trouble] is all processes.
const Everyone = -1

// Trouble is a time in which a process may miss what it is told, and lose its turn by
// that. It excuses nothing but a turn.
type Trouble struct {
	Process  int
	From, To int64
	What     string
}

// troubles are those of a recorder.
type troubles struct {
	mu  sync.Mutex
	all []Trouble
}

func (t *troubles) list() []Trouble {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.all)
}

func (t *troubles) add(trouble Trouble) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, trouble)
}

// aftermath is how long a process may need to recover: it is believed dead after two
// seconds, and hears of it at a tick.
const aftermath = 4 * time.Second

// Trouble notes that something goes wrong for a process from now on, and returns what
// notes its end.
func (r *Recorder) Trouble(process int, what string) (over func()) {
	from := r.Clock.Now()
	return func() {
		r.trouble.add(Trouble{process, from, r.Clock.Now() + int64(aftermath), what})
	}
}

// A process that does not run for so long has trouble.
const (
	stallTick = 10 * time.Millisecond
	stallMost = 300 * time.Millisecond
)

// watchStalls notes when this process does not run, until ctx ends.
func (r *Recorder) watchStalls(ctx context.Context) {
	t := time.NewTicker(stallTick)
	defer t.Stop()
	for last := r.Clock.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := r.Clock.Now()
		if time.Duration(now-last) > stallMost {
			r.trouble.add(Trouble{r.Process, last, now + int64(aftermath), "a process did not run"})
		}
		last = now
	}
}
