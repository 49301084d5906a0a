package locking_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

func TestARevokedHoldIsReleasedByItsHandleAndByNoEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		l := take(t, s, "k", locking.Expire(time.Minute))
		event := driver.Event{Revoked: hold(l, "k"), Reason: "test"}
		p.notify(event)
		p.notify(event) // an event can come twice
		cause(t, "revoked", l, locking.ErrLockRevoked)
		synctest.Wait()
		if got := p.releases(); got != "[]" {
			t.Errorf("released before the holder said that it has stopped: %s", got)
		}
		l.Close()
		if got := p.releases(); got != "[k]" {
			t.Errorf("released %s, want k", got)
		}
	})
}

func TestARevokedHoldIsRenewedNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		locks := many(t, s, 2, 30*time.Second)
		p.notify(driver.Event{Revoked: hold(locks[0], "k0")})
		time.Sleep(time.Minute)
		cause(t, "revoked", locks[0], locking.ErrLockRevoked)
		cause(t, "the other one", locks[1], nil)
		if got := p.extensions(); slices.Max(got) > 1 {
			t.Errorf("renewed together: %v", got)
		}
	})
}

func TestARevocationThatOvertakesItsGrantEndsTheHandleThatIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		p.acquired = func(_ context.Context, g *driver.Grant) error {
			p.notify(driver.Event{Revoked: g.Holds[0].Hold})
			return nil
		}
		l := take(t, s, "k")
		cause(t, "revoked before it was known", l, locking.ErrLockRevoked)
		synctest.Wait()
		if got := p.releases(); got != "[]" {
			t.Errorf("released before the holder said that it has stopped: %s", got)
		}
		if err := l.Release(t.Context()); err == nil || p.releases() != "[k]" {
			t.Errorf("release: %v, released %s", err, p.releases())
		}
	})
}

func TestARevokedHoldWhoseReleaseGotNoAnswerIsReleasedAgainByTheEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		l := take(t, s, "k")
		event := driver.Event{Revoked: hold(l, "k")}
		p.release = func([]driver.Hold) error { return errDown }
		if err := l.Release(t.Context()); err == nil {
			t.Fatal("the release got an answer")
		}
		p.release = nil
		p.notify(event)
		synctest.Wait()
		if got := p.releases(); got != "[k k]" {
			t.Errorf("released %s, want k again", got)
		}
		take(t, s, "k")
	})
}

func TestARevocationReleasesNothingThatThisProcessHasNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		direct, err := s.Provider("")
		if err != nil {
			t.Fatal(err)
		}
		g, err := direct.Acquire(t.Context(), driver.Request{Keys: []string{"direct"}, Owner: "someone"})
		if err != nil {
			t.Fatal(err)
		}
		p.notify(driver.Event{Revoked: g.Holds[0].Hold})

		run := runctx.NewRoot("store", "run", 1, time.Minute)
		l, err := s.TryAcquire(runctx.WithScope(t.Context(), run.Attempt("step", 1)), locking.Keys("abandoned"))
		if err != nil {
			t.Fatal(err)
		}
		event := driver.Event{Revoked: hold(l, "abandoned")}
		run.Surrender()[0].Abandon()
		p.notify(event)
		synctest.Wait()
		if got := p.releases(); got != "[]" {
			t.Errorf("released %s", got)
		}
	})
}

func TestARevocationIsLoggedWithItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, log := service(t)
		p.notify(driver.Event{Revoked: hold(take(t, s, "k"), "k"), Reason: "because"})
		synctest.Wait()
		wantLog(t, log, "by force", "key=k", "reason=because", "lp_p")
	})
}

func TestARevocationThatTheNextExtensionFindsEndsTheLockAsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		l := take(t, s, "k", locking.Expire(time.Minute))
		p.extended = func(answers []driver.Extension) { answers[0] = driver.Extension{Revoked: true} }
		wantError(t, l.Extend(t.Context(), time.Hour), locking.ErrLockRevoked)
		cause(t, "revoked", l, locking.ErrLockRevoked)
		synctest.Wait()
		if got := p.releases(); got != "[]" {
			t.Errorf("released before the holder said that it has stopped: %s", got)
		}
		wantError(t, l.Release(t.Context()), locking.ErrLockRevoked)
		if got := p.releases(); got != "[k]" {
			t.Errorf("released %s, want k", got)
		}
	})
}
