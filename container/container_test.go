package container_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
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

func TestADuplicateOfAnotherTypeNamesBothTypes(t *testing.T) {
	t.Parallel()
	c := container.New()
	container.MustRegister(c, keyA, 1)
	err := container.RegisterFunc(c, container.NewKey[string]("a"), func(*container.Container) (string, error) { return "", nil })
	var dup *container.DuplicateError
	if !errors.As(err, &dup) || dup.Registered != "int" || dup.Offered != "string" {
		t.Fatalf("got %v", err)
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

func TestANilServiceOfAnInterfaceTypeIsRefused(t *testing.T) {
	t.Parallel()
	if err := container.Register[greeter](container.New(), keyG, nil); !errors.Is(err, container.ErrInvalid) {
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

func TestAKeyNeedsAName(t *testing.T) {
	t.Parallel()
	defer func() {
		if v := recover(); v == nil {
			t.Error("an empty name was taken")
		}
	}()
	container.NewKey[int]("")
}

func TestAKeyPrintsAsItsName(t *testing.T) {
	t.Parallel()
	if keyA.Name() != "a" || keyA.String() != "a" {
		t.Fatalf("%q, %q", keyA.Name(), keyA.String())
	}
}

func TestTheZeroKeyIsRefused(t *testing.T) {
	t.Parallel()
	c, zero := container.New(), container.Key[int]{}
	if err := container.Register(c, zero, 1); !errors.Is(err, container.ErrInvalid) {
		t.Errorf("register: %v", err)
	}
	if _, err := container.Resolve(c, zero); !errors.Is(err, container.ErrInvalid) {
		t.Errorf("resolve: %v", err)
	}
}

func TestANilContainerOrResolverIsRefused(t *testing.T) {
	t.Parallel()
	var none *container.Container
	if err := container.Register(none, keyA, 1); !errors.Is(err, container.ErrInvalid) {
		t.Errorf("register: %v", err)
	}
	if _, err := container.Resolve(none, keyA); !errors.Is(err, container.ErrInvalid) {
		t.Errorf("nil container: %v", err)
	}
	if _, err := container.Resolve(nil, keyA); !errors.Is(err, container.ErrInvalid) {
		t.Errorf("nil resolver: %v", err)
	}
}

func TestMustPanicsWithTheError(t *testing.T) {
	t.Parallel()
	c := container.New()
	container.MustRegister(c, keyA, 1)
	for name, call := range map[string]func(){
		"MustRegister":     func() { container.MustRegister(c, keyA, 1) },
		"MustRegisterFunc": func() { container.MustRegisterFunc(c, keyA, nil) },
		"MustResolve":      func() { container.MustResolve(c, keyB) },
	} {
		func() {
			defer func() {
				if _, ok := recover().(error); !ok {
					t.Errorf("%s did not panic with an error", name)
				}
			}()
			call()
		}()
	}
}

// It counts the allocations of the whole process, so it may not be parallel.
func TestResolvingAServiceThatIsThereAllocatesNothing(t *testing.T) {
	c := container.New()
	container.MustRegister(c, keyA, 1)
	container.MustRegisterFunc(c, keyB, func(*container.Container) (int, error) { return 2, nil })
	container.MustResolve(c, keyB)
	child := c.Child()
	if n := testing.AllocsPerRun(100, func() {
		container.MustResolve(child, keyA)
		container.MustResolve(child, keyB)
	}); n != 0 {
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

func TestAContextWithoutAContainerSaysSo(t *testing.T) {
	t.Parallel()
	for _, ctx := range []context.Context{context.Background(), container.WithContext(context.Background(), nil)} {
		if c, ok := container.FromContext(ctx); ok || c != nil {
			t.Errorf("got %v, %v", c, ok)
		}
	}
}
