package container_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/container"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type greeter interface{ Greet() string }

type english struct{ name string }

func (e english) Greet() string { return "hello " + e.name }

var (
	keyA = container.NewKey[int]("a")
	keyB = container.NewKey[int]("b")
	keyG = container.NewKey[greeter]("greeter")
)

func TestAValueResolvesAsTheTypeOfItsKey(t *testing.T) {
	t.Parallel()
	c := container.New()
	container.MustRegister(c, keyG, greeter(english{"Ada"}))
	g, err := container.Resolve(c, keyG)
	if err != nil || g.Greet() != "hello Ada" {
		t.Fatalf("got %v, %v", g, err)
	}
}

func TestAnUnknownKeysErrorListsTheRegisteredNames(t *testing.T) {
	t.Parallel()
	c := container.New()
	container.MustRegister(c, keyB, 2)
	container.MustRegister(c.Child(), keyG, greeter(english{}))
	_, err := container.Resolve(c, keyA)
	if !errors.Is(err, container.ErrUnknownKey) || !strings.Contains(err.Error(), `"a"`) || !strings.HasSuffix(err.Error(), "there are b") {
		t.Fatalf("got %v", err)
	}
}

func TestRegisteringAKeyTwiceIsAnError(t *testing.T) {
	t.Parallel()
	c := container.New()
	container.MustRegister(c, keyA, 1)
	if err := container.Register(c, keyA, 2); !errors.Is(err, container.ErrAlreadyRegistered) {
		t.Fatalf("got %v", err)
	}
	if v := container.MustResolve(c, keyA); v != 1 {
		t.Fatalf("the second registration replaced the first: %d", v)
	}
}

func TestAKeyOfAnotherTypeIsAnErrorThatNamesBoth(t *testing.T) {
	t.Parallel()
	c := container.New()
	container.MustRegister(c, keyA, 1)
	_, err := container.Resolve(c, container.NewKey[string]("a"))
	var typed *container.TypeError
	if !errors.As(err, &typed) || typed.Registered != "int" || typed.Asked != "string" {
		t.Fatalf("got %v", err)
	}
}

func TestANilServiceIsRefused(t *testing.T) {
	t.Parallel()
	if err := container.Register[greeter](container.New(), keyG, nil); !errors.Is(err, container.ErrInvalid) {
		t.Fatalf("got %v", err)
	}
	var none *container.Container
	if _, err := container.Resolve(none, keyA); !errors.Is(err, container.ErrInvalid) {
		t.Fatalf("got %v", err)
	}
}

func TestAChildSeesItsParentAndMayShadowIt(t *testing.T) {
	t.Parallel()
	parent := container.New()
	container.MustRegister(parent, keyA, 1)
	container.MustRegister(parent, keyB, 2)
	child := parent.Child()
	container.MustRegister(child, keyA, 10)
	if a, b := container.MustResolve(child, keyA), container.MustResolve(child, keyB); a != 10 || b != 2 {
		t.Fatalf("child has %d, %d", a, b)
	}
	if a := container.MustResolve(parent, keyA); a != 1 {
		t.Fatalf("parent has %d", a)
	}
	if got := child.Names(); !reflect.DeepEqual(got, []string{"a", "b"}) {
		t.Fatalf("names %v", got)
	}
}

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

func TestResolvingAValueAllocatesNothing(t *testing.T) {
	c := container.New()
	container.MustRegister(c, keyA, 1)
	if n := testing.AllocsPerRun(100, func() { container.MustResolve(c, keyA) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestAContextCarriesAContainer(t *testing.T) {
	t.Parallel()
	c := container.New()
	if got, ok := container.FromContext(container.WithContext(context.Background(), c)); !ok || got != c {
		t.Fatalf("got %v, %v", got, ok)
	}
}

func Example() {
	c := container.New()
	name := container.NewKey[string]("name")
	container.MustRegister(c, name, "Ada")
	container.MustRegisterFunc(c, keyG, func(c *container.Container) (greeter, error) {
		n, err := container.Resolve(c, name)
		return english{n}, err
	})
	g, err := container.Resolve(c, keyG)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(g.Greet())
	// Output: hello Ada
}
