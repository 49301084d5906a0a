package lockredis_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// proxy stands between a client and a server. It can swallow an answer and cut the
// connection: the server has then done what the client does not know of.
type proxy struct {
	listener net.Listener
	server   string
	drop     atomic.Int32
	conns    sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]bool // to the server
}

func newProxyRig(t *testing.T) (*rig, *proxy) {
	t.Helper()
	server := redistest.Start(t)
	x := startProxy(t, server)
	p, _, err := start(t, lockredis.Config{
		RedisURL:     x.url(),
		RedisOptions: func(o *redis.UniversalOptions) { o.PoolSize = 1 },
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{p, t, server, server.Client()}
	// The scripts are known to the server, so that one command is one answer.
	r.take("warm", 0, "warm-up")
	if _, err := r.ReleaseAll(bg, "warm"); err != nil {
		t.Fatal(err)
	}
	return r, x
}

// startProxy starts a proxy. Who connects to it has to be started, and so closed, after
// it: its connections end first.
func startProxy(t *testing.T, server *redistest.Server) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := &proxy{listener: l, server: server.Addr(), open: map[net.Conn]bool{}}
	x.conns.Go(x.serve)
	t.Cleanup(func() {
		l.Close()
		x.conns.Wait()
	})
	return x
}

func (x *proxy) url() string { return "redis://" + x.listener.Addr().String() }

// addresses are those that the server knows the open connections by.
func (x *proxy) addresses() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	var list []string
	for c := range x.open {
		list = append(list, c.LocalAddr().String())
	}
	return list
}

func (x *proxy) note(c net.Conn, open bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if open {
		x.open[c] = true
	} else {
		delete(x.open, c)
	}
}

// dropReplies swallows the next n answers, each with its connection.
func (x *proxy) dropReplies(n int32) { x.drop.Store(n) }

// dropped fails the test unless every answer was swallowed that should be.
func (x *proxy) dropped(t *testing.T) {
	t.Helper()
	if n := x.drop.Load(); n != 0 {
		t.Fatalf("%d answers were not swallowed", n)
	}
}

func (x *proxy) serve() {
	for {
		client, err := x.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", x.server)
		if err != nil {
			client.Close()
			continue
		}
		x.note(server, true)
		x.conns.Go(func() {
			io.Copy(server, client)
			server.Close()
		})
		x.conns.Go(func() {
			x.answer(client, server)
			client.Close()
			server.Close()
			x.note(server, false)
		})
	}
}

// answer passes answers on. Those to the handshake of a new connection are never
// dropped.
func (x *proxy) answer(client, server net.Conn) {
	buf := make([]byte, 64<<10)
	for first := true; ; first = false {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		if !first && x.drop.Load() > 0 {
			x.drop.Add(-1)
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}
