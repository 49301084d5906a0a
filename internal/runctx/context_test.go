package runctx

import (
	"context"
	"errors"
	"testing"
)

var errOver, errStopped = errors.New("over"), errors.New("stopped")

type key struct{}

func attempt() (c *AttemptContext, stop context.CancelCauseFunc) {
	base, stop := context.WithCancelCause(context.WithValue(context.Background(), key{}, "value"))
	return &AttemptContext{Base: base}, stop
}

// Whoever asks, and when, gets the same answer.
func TestAnAttemptsContextEndsAsThoseOfPackageContextDo(t *testing.T) {
	ends := map[string]struct {
		end   func(c *AttemptContext, stop context.CancelCauseFunc)
		cause error
	}{
		"by itself":           {func(c *AttemptContext, _ context.CancelCauseFunc) { c.Cancel(errOver) }, errOver},
		"with its base":       {func(_ *AttemptContext, stop context.CancelCauseFunc) { stop(errStopped) }, errStopped},
		"before its base":     {func(c *AttemptContext, stop context.CancelCauseFunc) { c.Cancel(errOver); stop(errStopped) }, errOver},
		"after its base":      {func(c *AttemptContext, stop context.CancelCauseFunc) { stop(errStopped); c.Cancel(errOver) }, errStopped},
		"twice, by the first": {func(c *AttemptContext, _ context.CancelCauseFunc) { c.Cancel(errOver); c.Cancel(errStopped) }, errOver},
	}
	for name, e := range ends {
		for _, asked := range []bool{false, true} {
			c, stop := attempt()
			defer stop(nil)
			if asked {
				<-childOf(c)
			}
			if c.Err() != nil || c.Cause() != nil || context.Cause(c) != nil {
				t.Errorf("%s, asked %t: it has ended before: %v, %v", name, asked, c.Err(), c.Cause())
			}
			e.end(c, stop)
			if !errors.Is(c.Err(), context.Canceled) || !errors.Is(c.Cause(), e.cause) {
				t.Errorf("%s, asked %t: it has ended with %v for %v", name, asked, c.Err(), c.Cause())
			}
			<-c.Done()
			if got := context.Cause(c); !errors.Is(got, e.cause) || !errors.Is(c.Cause(), e.cause) || !errors.Is(c.Err(), context.Canceled) {
				t.Errorf("%s, asked %t: the cause is %v and %v, want %v", name, asked, got, c.Cause(), e.cause)
			}
		}
	}
}

// childOf has a context made of this one, and ended; it is through when the channel is
// closed.
func childOf(c context.Context) <-chan struct{} {
	child, cancel := context.WithCancel(c)
	cancel()
	return child.Done()
}

func TestWhatIsMadeOfAnAttemptsContextEndsWithIt(t *testing.T) {
	c, stop := attempt()
	defer stop(nil)
	child, cancel := context.WithCancel(c)
	defer cancel()
	c.Cancel(errOver)
	<-child.Done()
	if !errors.Is(context.Cause(child), errOver) {
		t.Error(context.Cause(child))
	}
}

func TestAnAttemptsContextHasTheValuesOfItsBase(t *testing.T) {
	c, stop := attempt()
	defer stop(nil)
	if c.Value(key{}) != "value" || AttemptFrom(c) != &c.Attempt {
		t.Error(c.Value(key{}), AttemptFrom(c))
	}
}

// Few bodies ask: the others' contexts are all there is to pay.
func TestAnAttemptsContextThatNobodyAsksNeedsNoMemoryForItsEnd(t *testing.T) {
	c, stop := attempt()
	defer stop(nil)
	got := testing.AllocsPerRun(100, func() {
		if c.Cause() != nil || c.Err() != nil || c.Value(key{}) == nil {
			t.Fatal(c.Cause())
		}
	})
	c.Cancel(errOver)
	if got != 0 || c.inner != nil {
		t.Errorf("%v allocations", got)
	}
}
