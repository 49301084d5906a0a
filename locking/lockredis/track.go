package lockredis

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// tracking has the server tell when another program frees a lock that somebody
// here waits for: such a program does not hand over. It is one more connection,
// made when it is first needed. Where the server does not allow it, the tick finds
// out.
type tracking struct {
	mu     sync.Mutex
	client *redis.Client // with one connection
	to     int64         // the connection that is told
	armed  map[string]bool
	off    bool // the server does not allow it
	asked  map[string]bool
	busy   bool
}

// armLocks asks for news of locks that another program holds, as soon as somebody
// waits for them: most are held for much less than a tick. A tick asks again: nothing
// else shows that the connection which asked is gone, and what it asked for with it. It
// requires waits.mu.
func (p *Provider) armLocks(locks []string, again bool) {
	t := &p.track
	t.mu.Lock()
	defer t.mu.Unlock()
	to := p.push.connection()
	if len(locks) == 0 || t.off || to == 0 {
		return
	}
	if to != t.to { // what was asked on behalf of another connection is void
		t.to, t.armed = to, map[string]bool{}
	}
	for _, lock := range locks {
		if again || !t.armed[lock] {
			t.armed[lock], t.asked[lock] = true, true
		}
	}
	if len(t.asked) == 0 || t.busy || p.life.enter() != nil {
		return
	}
	t.busy = true
	go func() {
		defer p.life.leave()
		p.arm()
	}()
}

// arm asks for what is to be asked. A key that has changed before it was asked for
// is looked at right away.
func (p *Provider) arm() {
	t := &p.track
	for {
		t.mu.Lock()
		locks := make([]string, 0, len(t.asked))
		for lock := range t.asked {
			locks = append(locks, lock)
		}
		clear(t.asked)
		if len(locks) == 0 {
			t.busy = false
			t.mu.Unlock()
			return
		}
		if t.client == nil {
			opts := *p.push.client.(*redis.Client).Options() //nolint:forcetypeassert // connection is 0 for others
			opts.PoolSize, opts.OnConnect = 1, nil
			t.client = redis.NewClient(&opts)
		}
		client, to := t.client, t.to
		t.mu.Unlock()

		ctx, cancel := context.WithTimeout(context.Background(), tickTime)
		line := client.Pipeline()
		on := line.Do(ctx, "client", "tracking", "on", "redirect", to)
		gets := make([]*redis.StringCmd, len(locks))
		for i, lock := range locks {
			gets[i] = line.Get(ctx, lock)
		}
		_, _ = line.Exec(ctx) // each command has its own error
		cancel()
		var gone []string
		for i, get := range gets {
			if get.Err() != nil {
				gone = append(gone, locks[i])
			}
		}
		if err := on.Err(); err != nil {
			t.mu.Lock()
			clear(t.armed)
			t.off = refusesTracking(err)
			t.mu.Unlock()
			if refusesTracking(err) {
				p.log.Info("lockredis: the server does not allow client tracking; releases of other programs are noticed within a tick", "error", err)
			}
			continue
		}
		p.changed(gone)
	}
}

// refusesTracking says that a server will not track for us, now or later. After a failover
// the connection that asks, or the one that is told, may be at the old server for a moment:
// a tick asks again.
func refusesTracking(err error) bool {
	return !lost(err) && !passing(err) && !strings.Contains(err.Error(), "redirect")
}

// changed looks at locks that are not what they were.
func (p *Provider) changed(locks []string) {
	if len(locks) == 0 {
		return
	}
	t := &p.track
	t.mu.Lock()
	for _, lock := range locks {
		delete(t.armed, lock)
	}
	t.mu.Unlock()
	s := p.waits
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, lock := range locks {
		if v := s.watched[lock]; v != nil {
			v.due = now
			p.schedule(now)
		}
	}
}

func (t *tracking) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.client == nil {
		return nil
	}
	return t.client.Close()
}
