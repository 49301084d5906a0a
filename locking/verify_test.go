package locking_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

func TestWhenTheServerWasOutOfSightEveryHoldIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		gone, forced, kept := take(t, s, "gone"), take(t, s, "forced"), take(t, s, "kept", locking.Expire(time.Minute))
		if ok, err := p.Provider.Release(t.Context(), []driver.Hold{hold(gone, "gone")}); err != nil || !ok[0] {
			t.Fatal(ok, err)
		}
		h := hold(forced, "forced")
		p.mute(true) // the word of it is lost
		if ok, err := p.ForceRelease(t.Context(), driver.ForceRequest{Key: "forced", Owner: h.Owner, Token: h.Token}); err != nil || !ok {
			t.Fatal(ok, err)
		}
		synctest.Wait()
		cause(t, "nobody has said so yet", gone, nil)
		cause(t, "nobody has said so yet", forced, nil)
		p.notify(driver.Event{Verify: true})
		synctest.Wait()
		cause(t, "forgotten by the server", gone, locking.ErrLockLost)
		cause(t, "taken by force", forced, locking.ErrLockRevoked)
		cause(t, "which stands", kept, nil)
		time.Sleep(59 * time.Second)
		cause(t, "whose expiry has not changed", kept, nil)
		time.Sleep(time.Second)
		cause(t, "which has lapsed when it had to", kept, locking.ErrLockLost)
	})
}

func TestHoldsThatCannotBeVerifiedStayAndTheLogSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, log := service(t)
		l := take(t, s, "k")
		p.extend = func(context.Context, time.Duration, []driver.Hold) error { return errDown }
		p.notify(driver.Event{Verify: true})
		synctest.Wait()
		cause(t, "without an answer", l, nil)
		wantLog(t, log, "could not verify", "lp_p")
	})
}
