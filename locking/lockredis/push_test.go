package lockredis_test

import (
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// The server hears the process, and the process does not hear its grants.
func TestAPushConnectionThatIsSilentWithoutKnowingIsMadeAnew(t *testing.T) {
	t.Parallel()
	near := newRig(t)
	w := newWire(t, near.server)
	far := near.at(lockredis.Config{RedisURL: w.url()})
	near.take("x", 0, "busy")
	g := near.take("x", 0, "k")
	deaf := w.swallow("subscribe")
	w.sever()
	w.mend()
	deaf.happens(t)
	anew := w.swallow("subscribe")
	far.ask(driver.Request{Keys: []string{"busy"}, Owner: "*", Wait: time.Minute}) // so that it ticks
	anew.happens(t)                                                                // and deaf again: it goes on trying
	got := far.ask(driver.Request{Keys: []string{"k"}, Owner: "*", Wait: time.Minute})
	near.inLine("k", 1)
	near.free(g)
	far.free(granted(t, got, 6*time.Second, "the waiter"))
}

func TestTheProviderClosesWhileItsPushConnectionIsMadeAnew(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWire(t, server)
	p, _, err := start(t, lockredis.Config{RedisURL: w.url()})
	if err != nil {
		t.Fatal(err)
	}
	half := w.holdBack(t, "$2\r\nid\r\n") // CLIENT ID is the last of the handshake
	w.sever()
	w.mend()
	half.happens(t)
	closed := make(chan error, 1)
	go func() { closed <- p.Close(bg) }()
	select { // it waits for the handshake
	case err := <-closed:
		t.Fatalf("closed in the midst of it: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	half.goOn(t)
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it does not close")
	}
}
