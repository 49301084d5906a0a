package container_test

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/lockstep-dev/lockstep/container"
)

func TestAConstructorRunsOnceForAllWhoAsk(t *testing.T) {
	t.Parallel()
	c := container.New()
	var runs atomic.Int32
	container.MustRegisterFunc(c, keyA, func(*container.Container) (int, error) { return int(runs.Add(1)), nil })
	if runs.Load() != 0 {
		t.Fatal("it ran before anybody asked")
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if v, err := container.Resolve(c, keyA); v != 1 || err != nil {
				t.Errorf("got %d, %v", v, err)
			}
		})
	}
	wg.Wait()
}

func TestAFailedConstructorIsTriedAgain(t *testing.T) {
	t.Parallel()
	c := container.New()
	boom, fail := errors.New("boom"), true
	container.MustRegisterFunc(c, keyA, func(*container.Container) (int, error) {
		if fail {
			return 0, boom
		}
		return 7, nil
	})
	if _, err := container.Resolve(c, keyA); !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	fail = false
	if v, err := container.Resolve(c, keyA); v != 7 || err != nil {
		t.Fatalf("got %d, %v", v, err)
	}
}

func TestAPanicInAConstructorIsAnError(t *testing.T) {
	t.Parallel()
	c := container.New()
	container.MustRegisterFunc(c, keyA, func(*container.Container) (int, error) { panic("oh") })
	_, err := container.Resolve(c, keyA)
	var p *container.PanicError
	if !errors.As(err, &p) || p.Value != "oh" || p.Name != "a" {
		t.Fatalf("got %v", err)
	}
}

func TestAPanicWithAnErrorKeepsTheError(t *testing.T) {
	t.Parallel()
	c := container.New()
	container.MustRegisterFunc(c, keyA, func(*container.Container) (int, error) { panic(io.ErrUnexpectedEOF) })
	if _, err := container.Resolve(c, keyA); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("got %v", err)
	}
}

// waiting starts a resolution of keyA whose constructor ends as told, lets others
// wait for it, and returns what they got.
func waiting(t *testing.T, end func() (int, error)) []error {
	t.Helper()
	var errs []error
	synctest.Test(t, func(*testing.T) {
		c := container.New()
		let := make(chan struct{})
		var runs atomic.Int32
		container.MustRegisterFunc(c, keyA, func(*container.Container) (int, error) {
			runs.Add(1)
			<-let
			return end()
		})
		var mu sync.Mutex
		for range 4 {
			go func() {
				_, err := container.Resolve(c, keyA)
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}()
		}
		synctest.Wait()
		if runs.Load() != 1 {
			t.Errorf("%d constructors ran at once", runs.Load())
		}
		close(let)
		synctest.Wait()
	})
	return errs
}

func TestThoseWhoWaitForAConstructorGetItsError(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	errs := waiting(t, func() (int, error) { return 0, boom })
	if len(errs) != 4 {
		t.Fatalf("%d of 4 returned", len(errs))
	}
	for _, err := range errs {
		if !errors.Is(err, boom) || !strings.HasPrefix(err.Error(), `container: construct "a": `) {
			t.Errorf("got %v", err)
		}
	}
}

func TestAPanicLeavesNobodyWaiting(t *testing.T) {
	t.Parallel()
	errs := waiting(t, func() (int, error) { panic("oh") })
	if len(errs) != 4 {
		t.Fatalf("%d of 4 returned", len(errs))
	}
	for _, err := range errs {
		var p *container.PanicError
		if !errors.As(err, &p) || len(p.Stack) == 0 {
			t.Errorf("got %v", err)
		}
	}
}

func TestAConstructorThatEndsItsGoroutineLeavesNobodyWaiting(t *testing.T) {
	t.Parallel()
	errs := waiting(t, func() (int, error) { runtime.Goexit(); return 0, nil })
	if len(errs) != 3 { // the goroutine of the fourth is gone
		t.Fatalf("%d of 3 returned", len(errs))
	}
	for _, err := range errs {
		if _, ok := errors.AsType[*container.PanicError](err); !ok {
			t.Errorf("got %v", err)
		}
	}
}

func TestANilServiceFromAConstructorIsAnError(t *testing.T) {
	t.Parallel()
	c := container.New()
	container.MustRegisterFunc(c, keyG, func(*container.Container) (greeter, error) { return nil, nil })
	if _, err := container.Resolve(c, keyG); !errors.Is(err, container.ErrInvalid) {
		t.Fatalf("got %v", err)
	}
}

func TestANilConstructorIsRefused(t *testing.T) {
	t.Parallel()
	if err := container.RegisterFunc(container.New(), keyA, nil); !errors.Is(err, container.ErrInvalid) {
		t.Fatalf("got %v", err)
	}
}

func TestAParentsConstructorResolvesFromTheParent(t *testing.T) {
	t.Parallel()
	parent := container.New()
	container.MustRegister(parent, keyA, 1)
	container.MustRegisterFunc(parent, keyB, func(c *container.Container) (int, error) {
		a, err := container.Resolve(c, keyA)
		return 100 * a, err
	})
	child := parent.Child()
	container.MustRegister(child, keyA, 2)
	if b := container.MustResolve(child, keyB); b != 100 {
		t.Fatalf("the child's own key reached the parent's constructor: %d", b)
	}
}
