package lockredis_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// told is another process at the rig's server, and what it is told of.
func told(t *testing.T, r *rig) (*rig, <-chan driver.Event) {
	t.Helper()
	events := make(chan driver.Event, 100)
	p, err := startTold(t, configOf(r), func(e driver.Event) { events <- e })
	if err != nil {
		t.Fatal(err)
	}
	return &rig{p, t, r.server, r.redis}, events
}

// startTold is start with somebody who is told of events.
func startTold(t *testing.T, cfg lockredis.Config, notify func(driver.Event)) (*lockredis.Provider, error) {
	t.Helper()
	p := lockredis.New(cfg)
	err := p.Start(bg, driver.Env{ID: "told", Logger: slog.New(slog.DiscardHandler), Notify: notify})
	if err == nil {
		t.Cleanup(func() {
			if err := p.Close(bg); err != nil {
				t.Error(err)
			}
		})
	}
	return p, err
}

func next(t *testing.T, events <-chan driver.Event) driver.Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(5 * time.Second):
		t.Fatal("no event came")
		return driver.Event{}
	}
}
