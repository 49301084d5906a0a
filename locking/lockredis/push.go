package lockredis

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/rediskit"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// invalidated is the channel on which a server tells of keys that have changed.
const invalidated = "__redis__:invalidate"

// push is the one connection on which this process is told of its grants.
//
// What was published while the connection was broken is lost. So whenever it is
// made anew every request is stated again; and each tick has a mark sent through
// it, so that a connection which is dead without knowing is noticed.
type push struct {
	client  redis.UniversalClient
	own     bool // the client is ours to close
	channel string
	handle  func(*redis.Message)
	joined  func() // the connection was made anew
	flushed func() // everything may have changed

	// id is the connection's, as the server counts. It is noted while the client's own
	// mutex is held, so not under mu: closing takes the two the other way round.
	id atomic.Int64
	// node is the one of a cluster that the subscription is at.
	node atomic.Pointer[redis.Client]

	mu     sync.Mutex
	line   *redis.PubSub
	closed bool
	ended  chan struct{}
}

// openPush subscribes. It returns when the server has confirmed it.
func openPush(ctx context.Context, client redis.UniversalClient, channel string) (*push, error) {
	s := &push{client: client, channel: channel, ended: make(chan struct{})}
	if c, ok := client.(*redis.Client); ok {
		// A connection of protocol 2 hands out the invalidations, too.
		opts := *c.Options()
		opts.Protocol, opts.PoolSize, opts.MinIdleConns, opts.MaxIdleConns = 2, 2, 0, 0
		opts.OnConnect = s.connected(opts.OnConnect)
		s.client, s.own = redis.NewClient(&opts), true
	}
	s.line = s.subscribe(ctx)
	for range s.channels() {
		if _, err := s.line.Receive(ctx); err != nil {
			return nil, errors.Join(err, s.line.Close(), s.closeClient())
		}
	}
	return s, nil
}

// subscribe begins a subscription. On a cluster that is at some node, since what is
// published comes to all of them: at another than before, which may not answer.
func (s *push) subscribe(ctx context.Context) *redis.PubSub {
	c, ok := s.client.(*redis.ClusterClient)
	for range 8 {
		if !ok {
			break
		}
		node, err := c.MasterForKey(ctx, "{"+rediskit.Tag(rand.IntN(rediskit.Slots))+"}") //nolint:gosec // any node will do
		if err != nil {
			break
		}
		if before := s.node.Swap(node); before != node {
			return node.Subscribe(ctx, s.channels()...)
		}
	}
	return s.client.Subscribe(ctx, s.channels()...)
}

func (s *push) channels() []string {
	if s.own {
		return []string{s.channel, invalidated}
	}
	return []string{s.channel}
}

// connected notes which connection the server is to send invalidations to.
func (s *push) connected(before func(context.Context, *redis.Conn) error) func(context.Context, *redis.Conn) error {
	return func(ctx context.Context, cn *redis.Conn) error {
		if before != nil {
			if err := before(ctx, cn); err != nil {
				return err
			}
		}
		id, err := cn.ClientID(ctx).Result()
		if err != nil {
			id = 0 // not allowed: there will be no tracking
		}
		s.id.Store(id)
		return nil
	}
}

// connection is the server's number of the connection, or 0.
func (s *push) connection() int64 { return s.id.Load() }

// run reads until the push is closed.
func (s *push) run() {
	defer close(s.ended)
	const shortest, longest = 5 * time.Millisecond, 500 * time.Millisecond
	wait := shortest
	for {
		s.mu.Lock()
		line, closed := s.line, s.closed
		s.mu.Unlock()
		if closed {
			return
		}
		msg, err := line.Receive(context.Background())
		if err == nil {
			wait = shortest
			switch m := msg.(type) {
			case *redis.Message:
				s.handle(m)
			case *redis.Subscription:
				if m.Channel == s.channel {
					s.joined()
				}
			}
			continue
		}
		if strings.Contains(err.Error(), "unsupported pubsub message payload") {
			s.flushed() // FLUSHALL and FLUSHDB tell of no key
			continue
		}
		s.mu.Lock()
		closed = s.closed
		s.mu.Unlock()
		if closed {
			return
		}
		time.Sleep(wait) // the next Receive connects again
		wait = min(2*wait, longest)
		if _, ok := s.client.(*redis.ClusterClient); ok { // its node may be gone for good
			s.renew(context.Background())
		}
	}
}

// renew replaces a connection that seems dead. Making one takes time, and s.mu while it
// is noted.
func (s *push) renew(ctx context.Context) {
	line := s.subscribe(ctx)
	s.mu.Lock()
	old := s.line
	if s.closed {
		old = line
	} else {
		s.line = line
	}
	s.mu.Unlock()
	_ = old.Close() // it wakes the reader, who finds the new one
}

func (s *push) close() error {
	s.mu.Lock()
	s.closed = true
	line := s.line
	s.mu.Unlock()
	err := line.Close()
	<-s.ended
	return errors.Join(err, s.closeClient())
}

func (s *push) closeClient() error {
	if s.own {
		return s.client.Close()
	}
	return nil
}

// hear acts on a message.
func (p *Provider) hear(m *redis.Message) {
	if m.Channel == invalidated {
		p.changed(m.PayloadSlice)
		return
	}
	p.hearText(m.Payload, time.Time{})
}

// hearText acts on what a script tells. It was told after the given moment.
func (p *Provider) hearText(message string, after time.Time) {
	r := reader{message: message}
	switch kind := r.text(); {
	case r.bad:
	case kind == "t":
		mark, err := strconv.ParseUint(r.text(), 10, 64)
		if err == nil && !r.bad {
			p.marked(mark)
			return
		}
	case kind == "g":
		id := r.text()
		a, since := p.waits.find(id)
		if a == nil { // it has ended, and was taken back, or is about to be
			p.waits.regranted(id)
			p.leaveAtOnce(id)
			return
		}
		if after.After(since) {
			since = after
		}
		holds := r.holds(a.req, a.group, since)
		successors := r.successors(holds)
		if r.whole() {
			p.granted(id, holds, successors)
			return
		}
	case kind == "x":
		if id := r.text(); !r.bad {
			p.refused(id, driver.ErrRevoked)
			return
		}
	case kind == "d":
		id, circle := r.text(), p.readCircle(&r)
		if !r.bad {
			p.refused(id, circle)
			return
		}
	case kind == "c":
		if id := r.text(); !r.bad {
			p.askedAcross(id)
			return
		}
	case kind == "a":
		if lock := r.text(); !r.bad {
			p.tellOf(p.keys.key(lock))
			return
		}
	case kind == "r":
		hold := driver.Hold{Key: p.keys.key(r.text()), Owner: r.text()}
		hold.Generation.Epoch, hold.Generation.Attempt = uint64(r.number()), uint64(r.number())
		hold.Token = driver.Token(r.number())
		if reason := r.text(); !r.bad {
			p.notify(driver.Event{Revoked: hold, Reason: reason})
			return
		}
	}
	p.log.Warn("lockredis: a message that the protocol does not know; it is left aside", "message", strconv.Quote(message[:min(len(message), 200)]))
}
