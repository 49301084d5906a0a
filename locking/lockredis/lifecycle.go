package lockredis

import (
	"context"
	"sync"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// lifecycle lets the provider end while calls are under way: those that wait are
// woken, and the client is closed when the last of them has let go of it.
type lifecycle struct {
	mu      sync.Mutex
	running bool
	calls   sync.WaitGroup
	closing chan struct{}
}

func (l *lifecycle) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running, l.closing = true, make(chan struct{})
}

// enter begins a call; leave ends it.
func (l *lifecycle) enter() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.running {
		return driver.ErrClosed
	}
	l.calls.Add(1)
	return nil
}

func (l *lifecycle) leave() { l.calls.Done() }

// end lets no more calls begin, wakes those that wait, and returns when all have
// ended or ctx has. It answers false when there is nothing to end.
func (l *lifecycle) end(ctx context.Context) bool {
	l.mu.Lock()
	if !l.running {
		l.mu.Unlock()
		return false
	}
	l.running = false
	close(l.closing)
	l.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		l.calls.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done(): // the client's end will end them
	}
	return true
}
