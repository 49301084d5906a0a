package locking_test

import (
	"context"
	"slices"
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
		synctest.Wait()
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

func TestWhatCouldNotBeVerifiedIsAskedForUntilThereIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, log := service(t)
		gone, kept := take(t, s, "gone"), take(t, s, "kept")
		if ok, err := p.Provider.Release(t.Context(), []driver.Hold{hold(gone, "gone")}); err != nil || !ok[0] {
			t.Fatal(ok, err)
		}
		down := time.Now().Add(time.Hour)
		p.extend = func(context.Context, time.Duration, []driver.Hold) error {
			if time.Now().Before(down) {
				return errDown
			}
			return nil
		}
		p.notify(driver.Event{Verify: true})
		time.Sleep(time.Hour - time.Millisecond)
		cause(t, "without an answer", gone, nil)
		time.Sleep(251 * time.Millisecond)
		synctest.Wait()
		cause(t, "forgotten", gone, locking.ErrLockLost)
		cause(t, "which stands", kept, nil)
		wantLog(t, log, "could not verify", "could not be verified have been")
		asked := len(p.extensions())
		time.Sleep(time.Minute)
		if more := len(p.extensions()); more != asked {
			t.Errorf("it goes on asking: %d times more", more-asked)
		}
	})
}

func TestOnlyWhatHasNoAnswerIsVerifiedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		for _, k := range []string{"a", "b", "c"} {
			take(t, s, k)
		}
		p.silent = withoutAnswer("b", time.Now().Add(600*time.Millisecond))
		p.notify(driver.Event{Verify: true})
		time.Sleep(time.Minute)
		if got := p.extensions(); !slices.Equal(got, []int{3, 1, 1, 1}) {
			t.Errorf("commands of %v locks, want all, and then one thrice", got)
		}
	})
}

func TestWhatHasAnAnswerIsVerifiedAtOnceThoughAnotherHoldHasHadNoneForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		take(t, s, "hangs")
		gone := take(t, s, "gone")
		p.silent = func(ctx context.Context, h driver.Hold) error {
			if h.Key == "hangs" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		p.notify(driver.Event{Verify: true})
		time.Sleep(10*time.Second + 100*time.Millisecond)
		if ok, err := p.Provider.Release(t.Context(), []driver.Hold{hold(gone, "gone")}); err != nil || !ok[0] {
			t.Fatal(ok, err)
		}
		p.notify(driver.Event{Verify: true})
		synctest.Wait()
		cause(t, "forgotten", gone, locking.ErrLockLost)
	})
}

func TestVerifyingEndsWithTheHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		l := take(t, s, "k", locking.Expire(time.Minute))
		other := take(t, s, "other")
		p.extend = func(context.Context, time.Duration, []driver.Hold) error { return errDown }
		p.notify(driver.Event{Verify: true})
		time.Sleep(30 * time.Second)
		wantError(t, other.Release(t.Context()), nil)
		time.Sleep(30*time.Second + 600*time.Millisecond)
		cause(t, "lapsed", l, locking.ErrLockLost)
		asked := len(p.extensions())
		time.Sleep(time.Minute)
		if more := len(p.extensions()); more != asked || asked < 100 {
			t.Errorf("it was asked for %d times, and then %d times more", asked, more-asked)
		}
	})
}

// The server forgets the lock, and sight is lost, while an older answer is on its way.
func TestAnAnswerFromBeforeSightWasLostVerifiesNothing(t *testing.T) {
	for name, asks := range map[string]func(*testing.T, *locking.Service, *scripted) *locking.Lock{
		"of a verification": func(t *testing.T, s *locking.Service, p *scripted) *locking.Lock {
			l := take(t, s, "k")
			p.notify(driver.Event{Verify: true})
			return l
		},
		"of an offer that was made full": func(t *testing.T, s *locking.Service, p *scripted) *locking.Lock {
			p.acquired = offer
			return take(t, s, "k")
		},
		"of an extension by hand": func(t *testing.T, s *locking.Service, _ *scripted) *locking.Lock {
			l := take(t, s, "k")
			go func() { _ = l.Extend(t.Context(), time.Minute) }()
			return l
		},
		"of a request": func(t *testing.T, s *locking.Service, p *scripted) *locking.Lock {
			p.acquired = func(_ context.Context, g *driver.Grant) error {
				p.extended([]driver.Extension{{}})
				return nil
			}
			return take(t, s, "k")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p, _ := service(t)
				p.extended = func([]driver.Extension) {
					p.extended = nil
					if n, err := p.ReleaseAll(t.Context(), driver.Anonymous); err != nil || n != 1 {
						t.Error(n, err)
					}
					p.notify(driver.Event{Verify: true})
				}
				l := asks(t, s, p)
				time.Sleep(time.Second)
				synctest.Wait()
				cause(t, "forgotten", l, locking.ErrLockLost)
			})
		})
	}
}
