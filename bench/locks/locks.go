// Package locks has the lock libraries that are compared, each behind the same small
// interface, and the raw floor: the least that a lock on Redis can send.
package locks

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/bench/wire"
)

// TTL is how long a lock lives that nobody frees.
const TTL = 30 * time.Second

// poolSize is the pool of every go-redis client: with the default, 10 per core, 64
// callers would queue for connections, in the floor most of all.
const poolSize = 64

// Locker takes and frees locks as one library does. Its methods may be called
// concurrently.
type Locker interface {
	// Hold takes the keys, waiting until they are free or ctx ends, calls section
	// with the fencing token of the first, or 0 where the library has none, and
	// frees them.
	Hold(ctx context.Context, keys []string, section func(token uint64)) error
	// Close ends the locker's connections.
	Close() error
}

// Held is a lock that was taken and is kept.
type Held interface {
	Release(ctx context.Context) error
}

// Keeper is a [Locker] that can also keep a lock, for the measurement of memory.
type Keeper interface {
	Keep(ctx context.Context, keys []string) (Held, error)
}

// Counter is a [Locker] that can tell how many wait for a key.
type Counter interface {
	Waiting(ctx context.Context, key string) (int, error)
}

// Kind says what a candidate stands for in a budget.
type Kind int

// The kinds.
const (
	Ours Kind = iota
	Floor
	Peer
)

// Env is where a candidate works.
type Env struct {
	Addr string
	Wire *wire.Counter
}

// client is the go-redis client of a candidate.
func (e Env) client() *redis.Client {
	// MaxRetries: a command that is sent again would be counted, and hide a failure.
	return redis.NewClient(&redis.Options{Addr: e.Addr, Dialer: e.Wire.Dial, PoolSize: poolSize, MaxRetries: -1})
}

// Candidate is a library with its settings.
type Candidate struct {
	Name string
	Kind Kind
	// Alone, Together and ManyKeys say which trials it takes part in: without and
	// with contention, and with several keys at once.
	Alone, Together, ManyKeys bool

	Open func(ctx context.Context, env Env) (Locker, error)
}

// All returns the candidates. What differs by how it waits alone takes part once in
// the trials where nobody waits.
func All() []Candidate {
	return []Candidate{
		{Name: "lockstep", Kind: Ours, Alone: true, Together: true, ManyKeys: true, Open: openLockstep},
		{Name: "raw", Kind: Floor, Alone: true, Together: true, ManyKeys: true, Open: openRaw(spin)},
		{Name: "raw-poll", Kind: Floor, Together: true, Open: openRaw(poll)},
		{Name: "redsync", Kind: Peer, Alone: true, Together: true, Open: openRedsync()},
		{Name: "redsync-1ms", Kind: Peer, Together: true, Open: openRedsync(oneMillisecond...)},
		{Name: "redislock-1ms", Kind: Peer, Alone: true, Together: true, ManyKeys: true, Open: openRedislock(linear)},
		{Name: "redislock-exp", Kind: Peer, Together: true, Open: openRedislock(exponential)},
		{Name: "rueidislock-1key", Kind: Peer, Alone: true, Together: true, Open: openRueidislock(oneKey)},
		{Name: "rueidislock", Kind: Peer, Alone: true, Together: true, Open: openRueidislock(asItComes)},
	}
}

// Find returns the candidate with that name.
func Find(name string) (Candidate, error) {
	for _, c := range All() {
		if c.Name == name {
			return c, nil
		}
	}
	return Candidate{}, fmt.Errorf("locks: there is no candidate %q", name)
}

// pause waits, or returns ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
