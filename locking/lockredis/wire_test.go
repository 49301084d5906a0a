package lockredis_test

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// wire stands between a process and its server. It can be severed, and can do
// something to the first request that has a given text in it.
type wire struct {
	listener net.Listener
	server   string
	conns    sync.WaitGroup

	mu      sync.Mutex
	severed bool
	open    map[net.Conn]bool
	faults  []*fault
}

// fault is what befalls one request.
type fault struct {
	text string
	late bool // the request is held back until let is closed; the server answers it then
	slow bool // the answer is held back until let is closed
	deaf bool // the answer is swallowed, and the connection stays silent
	// The answer is swallowed, and the connection breaks, when it is none of these.

	let      chan struct{}
	met      chan struct{} // closed when the request is held back
	answered chan struct{} // closed when the server has answered the request
}

func newWire(t *testing.T, server *redistest.Server) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, server: server.Addr(), open: map[net.Conn]bool{}}
	w.conns.Go(w.serve)
	t.Cleanup(func() {
		l.Close()
		w.sever()
		w.conns.Wait()
	})
	return w
}

// newWiredRig is a rig whose provider is behind a wire.
func newWiredRig(t *testing.T) (*rig, *wire) {
	t.Helper()
	server := redistest.Start(t)
	w := newWire(t, server)
	r := (&rig{nil, t, server, server.Client()}).at(lockredis.Config{RedisURL: w.url()})
	r.free(r.take("warm", 0, "warm-up")) // the server knows the scripts: one request has one answer
	return r, w
}

func (w *wire) url() string { return "redis://" + w.listener.Addr().String() }

// sever breaks all connections, and lets none be made until mend.
func (w *wire) sever() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.severed = true
	for c := range w.open {
		c.Close()
	}
	clear(w.open)
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.severed = false
}

// holdBack holds the next request with the text back until let is closed.
func (w *wire) holdBack(t *testing.T, text string) *fault {
	t.Helper()
	f := w.add(&fault{text: text, late: true})
	t.Cleanup(func() { closeUnlessClosed(f.let) })
	return f
}

func closeUnlessClosed(ch chan struct{}) {
	select {
	case <-ch:
	default:
		close(ch)
	}
}

// slowAnswer holds the answer to the next request with the text back until let is
// closed.
func (w *wire) slowAnswer(t *testing.T, text string) *fault {
	t.Helper()
	f := w.add(&fault{text: text, slow: true})
	t.Cleanup(func() { closeUnlessClosed(f.let) })
	return f
}

// swallow leaves the next request with the text without an answer, on a connection
// that stays as it is.
func (w *wire) swallow(text string) *fault { return w.add(&fault{text: text, deaf: true}) }

// lose breaks the connection of the next request with the text instead of answering.
func (w *wire) lose(text string) *fault { return w.add(&fault{text: text}) }

func (w *wire) add(f *fault) *fault {
	f.let, f.met, f.answered = make(chan struct{}), make(chan struct{}), make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, f)
	return f
}

// happens waits until the server has answered the request, or until it is held back.
func (f *fault) happens(t *testing.T) {
	t.Helper()
	ch := f.answered
	if f.late {
		ch = f.met
	}
	f.await(t, ch)
}

// goOn lets a request through that was held back, and returns when it is answered.
func (f *fault) goOn(t *testing.T) {
	t.Helper()
	close(f.let)
	f.await(t, f.answered)
}

func (f *fault) await(t *testing.T, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(10 * time.Second):
		t.Fatalf("the request with %q was not met", f.text)
	}
}

func (w *wire) serve() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", w.server)
		if err != nil {
			client.Close()
			continue
		}
		w.mu.Lock()
		if w.severed {
			client.Close()
			server.Close()
		} else {
			w.open[client], w.open[server] = true, true
		}
		w.mu.Unlock()
		var fate atomic.Pointer[fault]
		w.conns.Go(func() { w.requests(client, server, &fate) })
		w.conns.Go(func() { answers(client, server, &fate) })
	}
}

func (w *wire) requests(client, server net.Conn, fate *atomic.Pointer[fault]) {
	defer server.Close()
	buf := make([]byte, 256<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if f := w.meets(buf[:n]); f != nil {
			if f.late {
				close(f.met)
				<-f.let
			}
			fate.Store(f)
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
		if f := fate.Load(); f != nil && f.late {
			<-f.answered // the client may have gone; the server is to answer all the same
		}
	}
}

func (w *wire) meets(request []byte) *fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, f := range w.faults {
		if bytes.Contains(request, []byte(f.text)) {
			w.faults = append(w.faults[:i:i], w.faults[i+1:]...)
			return f
		}
	}
	return nil
}

func answers(client, server net.Conn, fate *atomic.Pointer[fault]) {
	defer client.Close()
	defer server.Close()
	defer func() {
		if f := fate.Load(); f != nil { // nobody is to wait for an answer that cannot come
			closeUnlessClosed(f.answered)
		}
	}()
	buf := make([]byte, 256<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		if f := fate.Load(); f != nil {
			closeUnlessClosed(f.answered)
			switch {
			case f.late:
			case f.slow:
				<-f.let
			case f.deaf:
				continue
			default:
				return
			}
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}
