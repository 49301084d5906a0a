package container_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/lockstep-dev/lockstep/container"
)

func TestACycleOfConstructorsIsAnErrorThatNamesIt(t *testing.T) {
	t.Parallel()
	c := container.New()
	container.MustRegisterFunc(c, keyA, func(c *container.Container) (int, error) { return container.Resolve(c, keyB) })
	container.MustRegisterFunc(c, keyB, func(c *container.Container) (int, error) { return container.Resolve(c, keyA) })
	_, err := container.Resolve(c, keyA)
	var cycle *container.CycleError
	if !errors.As(err, &cycle) || strings.Join(cycle.Path, ",") != "a,b,a" {
		t.Fatalf("got %v", err)
	}
}

func TestACycleAcrossGoroutinesIsFoundToo(t *testing.T) {
	t.Parallel()
	c := container.New()
	inA, inB := make(chan struct{}), make(chan struct{})
	container.MustRegisterFunc(c, keyA, func(c *container.Container) (int, error) {
		close(inA)
		<-inB
		return container.Resolve(c, keyB)
	})
	var again atomic.Bool
	container.MustRegisterFunc(c, keyB, func(c *container.Container) (int, error) {
		if again.CompareAndSwap(false, true) {
			close(inB)
			<-inA
		}
		return container.Resolve(c, keyA)
	})
	errs := make(chan error, 2)
	go func() { _, err := container.Resolve(c, keyA); errs <- err }()
	go func() { _, err := container.Resolve(c, keyB); errs <- err }()
	var cycle *container.CycleError
	if err := errors.Join(<-errs, <-errs); !errors.As(err, &cycle) {
		t.Fatalf("got %v", err)
	}
	if p := cycle.Path; len(p) != 3 || p[0] != p[2] {
		t.Fatalf("path %v", p)
	}
}

func path(err error) string {
	var cycle *container.CycleError
	if !errors.As(err, &cycle) {
		return ""
	}
	return strings.Join(cycle.Path, " -> ")
}

func TestAConstructorThatNeedsItselfIsACycle(t *testing.T) {
	t.Parallel()
	c := container.New()
	container.MustRegisterFunc(c, keyA, func(c *container.Container) (int, error) { return container.Resolve(c, keyA) })
	_, err := container.Resolve(c, keyA)
	if got := path(err); got != "a -> a" || !strings.HasSuffix(err.Error(), "a -> a") {
		t.Fatalf("path %q of %v", got, err)
	}
}

func TestACycleNamesOnlyWhatIsOnIt(t *testing.T) {
	t.Parallel()
	c := container.New()
	keyC := container.NewKey[int]("c")
	container.MustRegisterFunc(c, keyA, func(c *container.Container) (int, error) { return container.Resolve(c, keyB) })
	container.MustRegisterFunc(c, keyB, func(c *container.Container) (int, error) { return container.Resolve(c, keyC) })
	container.MustRegisterFunc(c, keyC, func(c *container.Container) (int, error) { return container.Resolve(c, keyB) })
	_, err := container.Resolve(c, keyA)
	if got := path(err); got != "b -> c -> b" {
		t.Fatalf("path %q of %v", got, err)
	}
}

func TestACycleThroughAChildIsFound(t *testing.T) {
	t.Parallel()
	c := container.New()
	container.MustRegisterFunc(c, keyA, func(c *container.Container) (int, error) {
		child := c.Child()
		container.MustRegisterFunc(child, keyB, func(c *container.Container) (int, error) { return container.Resolve(c, keyA) })
		return container.Resolve(child, keyB)
	})
	_, err := container.Resolve(c, keyA)
	if got := path(err); got != "a -> b -> a" {
		t.Fatalf("path %q of %v", got, err)
	}
}

func TestACycleAcrossThreeGoroutinesIsNamedInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := container.New()
		keys := []container.Key[int]{keyA, keyB, container.NewKey[int]("c")}
		let := [3]chan struct{}{}
		var retry atomic.Bool
		for i, key := range keys {
			let[i] = make(chan struct{})
			container.MustRegisterFunc(c, key, func(c *container.Container) (int, error) {
				if retry.Load() {
					return 1, nil
				}
				<-let[i]
				return container.Resolve(c, keys[(i+1)%3])
			})
		}
		errs := make([]error, 3)
		for i, key := range keys {
			go func() { _, errs[i] = container.Resolve(c, key) }()
		}
		synctest.Wait()
		for i := range let { // a waits for b, b for c, and c closes the circle
			close(let[i])
			synctest.Wait()
		}
		for i, err := range errs {
			if got := path(err); got != "c -> a -> b -> c" {
				t.Errorf("%s: path %q of %v", keys[i], got, err)
			}
		}
		retry.Store(true)
		if v, err := container.Resolve(c, keyA); v != 1 || err != nil {
			t.Errorf("after the cycle: %d, %v", v, err)
		}
	})
}

func TestTwoWhoNeedTheSameThirdAreNoCycle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := container.New()
		third := container.NewKey[int]("third")
		let := make(chan struct{})
		container.MustRegisterFunc(c, third, func(*container.Container) (int, error) { <-let; return 3, nil })
		got := make([]int, 2)
		for i, key := range []container.Key[int]{keyA, keyB} {
			container.MustRegisterFunc(c, key, func(c *container.Container) (int, error) { return container.Resolve(c, third) })
			go func() { got[i] = container.MustResolve(c, key) }()
		}
		synctest.Wait()
		close(let)
		synctest.Wait()
		if got[0] != 3 || got[1] != 3 {
			t.Errorf("got %v", got)
		}
	})
}

// Outer's constructor makes helper, which keeps the container it was given and
// waits for b in the background; b needs outer. Nobody waits for helper any more,
// so b may wait for outer.
func TestAConstructionThatIsOverClosesNoCycle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := container.New()
		outer, helper := container.NewKey[int]("outer"), container.NewKey[int]("helper")
		letB, letOuter := make(chan struct{}), make(chan struct{})
		container.MustRegisterFunc(c, keyB, func(c *container.Container) (int, error) {
			<-letB
			return container.Resolve(c, outer)
		})
		errs := make([]error, 3)
		container.MustRegisterFunc(c, helper, func(c *container.Container) (int, error) {
			go func() { _, errs[0] = container.Resolve(c, keyB) }()
			return 1, nil
		})
		container.MustRegisterFunc(c, outer, func(c *container.Container) (int, error) {
			v, err := container.Resolve(c, helper)
			<-letOuter
			return v, err
		})
		go func() { _, errs[1] = container.Resolve(c, keyB) }()
		synctest.Wait()
		go func() { _, errs[2] = container.Resolve(c, outer) }()
		synctest.Wait()
		close(letB) // b waits for outer, while outer's helper waits for b
		synctest.Wait()
		close(letOuter)
		synctest.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
	})
}
