package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
)

// What is handled between the going off of a timer and its news may set it again.
func TestRunThatHasEndedIsInNoTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Config{Store: storemem.New()})
		defer e.timers.stop()
		r := newRun(e, nil, store.Key{Workflow: "w", ID: "x"})
		r.s, r.busy = &machine.State{}, true // its mail is handled by this test
		e.timers.set(r, time.Now().Add(time.Second))
		time.Sleep(time.Second)
		synctest.Wait()
		r.s.DueAt = time.Now().Add(time.Hour)
		r.wait()
		if len(r.mail) != 1 {
			t.Fatal(r.mail)
		}
		r.s.DueAt = time.Time{}
		if err := r.mail[0].handle(r); err != nil {
			t.Fatal(err)
		}
		e.timers.set(r, time.Time{}) // as its end does
		if n := len(e.timers.list); n > 0 {
			t.Errorf("%d timers", n)
		}
	})
}
