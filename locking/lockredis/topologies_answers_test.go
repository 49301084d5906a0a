package lockredis_test

import (
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// deafDialer makes connections that swallow the answer to the next request which has a
// text in it, and break.
type deafDialer struct{ text atomic.Pointer[string] }

func (d *deafDialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var n net.Dialer
	conn, err := n.DialContext(ctx, network, addr)
	return &deafConn{Conn: conn, d: d}, err
}

type deafConn struct {
	net.Conn

	d    *deafDialer
	deaf atomic.Bool
}

func (c *deafConn) Write(b []byte) (int, error) {
	if text := c.d.text.Load(); text != nil && strings.Contains(string(b), *text) && c.d.text.CompareAndSwap(text, nil) {
		c.deaf.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *deafConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && c.deaf.Load() {
		c.Close()
		return 0, io.EOF
	}
	return n, err
}

// swallows has the answer to the next request swallowed that has the text in it.
func (d *deafDialer) swallows(text string) { d.text.Store(&text) }

// swallowed fails the test unless there was such a request.
func (d *deafDialer) swallowed(t *testing.T) {
	t.Helper()
	if d.text.Load() != nil {
		t.Error("no answer was swallowed")
	}
}

// onEachKind proves a rule on servers of each kind, whose answers can be swallowed. They know the
// scripts: one request has one answer.
func onEachKind(t *testing.T, prove func(t *testing.T, r *rig, d *deafDialer)) {
	t.Helper()
	for name, configured := range map[string]func(t *testing.T, d *deafDialer) (lockredis.Config, *redistest.Server){
		"on a single server": func(t *testing.T, d *deafDialer) (lockredis.Config, *redistest.Server) {
			server := redistest.Start(t)
			return lockredis.Config{RedisURL: server.URL(), RedisOptions: func(o *redis.UniversalOptions) { o.Dialer = d.dial }}, server
		},
		"behind sentinels": func(t *testing.T, d *deafDialer) (lockredis.Config, *redistest.Server) {
			s := redistest.StartSentinel(t, 1)
			cfg := bySentinel(s)
			sentinel := cfg.RedisOptions
			cfg.RedisOptions = func(o *redis.UniversalOptions) {
				sentinel(o)
				o.Dialer = d.dial
			}
			return cfg, s.Master()
		},
		"on a cluster": func(t *testing.T, d *deafDialer) (lockredis.Config, *redistest.Server) {
			c := redistest.StartCluster(t, 1, 0)
			client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), Dialer: d.dial})
			t.Cleanup(func() { client.Close() })
			return lockredis.Config{Client: client}, c.Masters[0]
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &deafDialer{}
			cfg, server := configured(t, d)
			r := (&rig{nil, t, server, server.Client()}).at(cfg)
			r.free(r.take("me", 0, "k"))
			prove(t, r, d)
		})
	}
}

// It is sent again, and the second time there is nothing to free.
func TestAReleaseWhoseAnswerIsLostCountsAsFreedOnServersOfEachKind(t *testing.T) {
	t.Parallel()
	onEachKind(t, func(t *testing.T, r *rig, d *deafDialer) {
		g := r.take("me", 0, "k")
		d.swallows("me\r\n$16\r\n") // owner and token, as a release has them
		if freed, err := r.Release(bg, []driver.Hold{hold(g)}); err != nil || !freed[0] {
			t.Errorf("got %v, %v", freed, err)
		}
		d.swallowed(t)
		r.take("you", 0, "k")
	})
}

func TestAnAcquireWhoseAnswerIsLostIsGrantedOnceOnServersOfEachKind(t *testing.T) {
	t.Parallel()
	onEachKind(t, func(t *testing.T, r *rig, d *deafDialer) {
		d.swallows("medusa_lock:k\r\n")
		g := r.take("*", 0, "k") // an anonymous owner joins nothing: it would find its own lock busy
		d.swallowed(t)
		r.busy("*", "k")
		r.free(g)
		r.take("you", 0, "k")
	})
}

func TestALineOfOneProcessIsServedInOrderWithoutACallOnServersOfEachKind(t *testing.T) {
	t.Parallel()
	onEachKind(t, func(t *testing.T, r *rig, _ *deafDialer) {
		r.HandsOn(time.Minute, time.Minute)
		r.lineInOrder()
	})
}

// It comes when the server has forgotten what it is to free.
func TestAReleaseThatComesAfterAFlushFreesNothingOfTheNext(t *testing.T) {
	t.Parallel()
	r, w := newWiredRig(t)
	g := r.take("*", 0, "k")
	late := w.holdBack(t, "medusa_lock:k")
	released := make(chan error, 1)
	go func() {
		_, err := r.Release(bg, []driver.Hold{hold(g)})
		released <- err
	}()
	late.happens(t)
	r.redis.FlushAll(bg)
	next := r.another()
	has := next.take("*", 0, "k")
	late.goOn(t)
	if err := <-released; err != nil {
		t.Error(err)
	}
	next.free(has)
}
