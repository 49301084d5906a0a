package locking_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
)

var bg = context.Background()

func mem() driver.Provider { return lockmem.New(lockmem.Config{}) }

// open starts a service and returns what it logged.
func open(t *testing.T, regs ...locking.Registration) (*locking.Service, string, error) {
	t.Helper()
	var log bytes.Buffer
	s, err := locking.New(bg, locking.Config{Providers: regs, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err == nil {
		t.Cleanup(func() {
			if err := s.Close(bg); err != nil {
				t.Error(err)
			}
		})
	}
	return s, log.String(), err
}

func TestTheDefaultProviderIsChosenByMedusasRules(t *testing.T) {
	for _, c := range []struct {
		rule string
		regs []locking.Registration
		want string
	}{
		{"with none registered it is the in-memory one", nil, "lp_in-memory"},
		{"one alone is the default", []locking.Registration{{ID: "a", Provider: mem()}}, "lp_a"},
		{"of several it is the one with IsDefault", []locking.Registration{{ID: "a", Provider: mem()}, {ID: "b", Provider: mem(), IsDefault: true}}, "lp_b"},
		{"of several without it is the in-memory one", []locking.Registration{{ID: "a", Provider: mem()}, {ID: "b", Provider: mem()}}, "lp_in-memory"},
	} {
		s, log, err := open(t, c.regs...)
		if err != nil || s.DefaultProvider() != c.want {
			t.Errorf("%s: got %v, %v", c.rule, s.DefaultProvider(), err)
		}
		warned := strings.Contains(log, "level=WARN") && strings.Contains(log, "lp_in-memory")
		if want := len(c.regs) > 1 && c.want == locking.InMemory; warned != want {
			t.Errorf("%s: warned %t: %s", c.rule, warned, log)
		}
	}
}

func TestTwoDefaultsAreAnErrorThatListsTheIDs(t *testing.T) {
	_, _, err := open(t, locking.Registration{ID: "a", Provider: mem(), IsDefault: true}, locking.Registration{ID: "b", Provider: mem(), IsDefault: true})
	if !errors.Is(err, locking.ErrInvalid) || !strings.Contains(err.Error(), "lp_a") || !strings.Contains(err.Error(), "lp_b") {
		t.Fatalf("got %v", err)
	}
}

func TestAnUnknownProviderIsAnErrorThatListsTheKnown(t *testing.T) {
	s, _, err := open(t, locking.Registration{ID: "a", Provider: mem()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.TryAcquire(bg, locking.Keys("k"), locking.WithProvider("lp_nope"))
	if !errors.Is(err, locking.ErrUnknownProvider) || !strings.Contains(err.Error(), "lp_nope") || !strings.Contains(err.Error(), "lp_in-memory, lp_a") {
		t.Fatalf("got %v", err)
	}
}

func TestRegistrationsThatCannotBeAreRefused(t *testing.T) {
	for name, regs := range map[string][]locking.Registration{
		"no id":         {{Provider: mem()}},
		"no provider":   {{ID: "a"}},
		"same id twice": {{ID: "a", Provider: mem()}, {ID: "a", Provider: mem()}},
	} {
		if _, _, err := open(t, regs...); !errors.Is(err, locking.ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// unwilling is a provider that does not start, and failing one that does.
type unwilling struct{ driver.Provider }

func (unwilling) Start(context.Context, driver.Env) error { return errors.New("unwilling") }

type watched struct {
	driver.Provider

	closed *bool
}

func (w watched) Close(ctx context.Context) error {
	*w.closed = true
	return w.Provider.Close(ctx)
}

func TestAProviderThatDoesNotStartClosesThoseBefore(t *testing.T) {
	var closed bool
	_, _, err := open(t,
		locking.Registration{ID: "a", Provider: watched{mem(), &closed}, IsDefault: true},
		locking.Registration{ID: "b", Provider: unwilling{mem()}})
	if err == nil || !strings.Contains(err.Error(), "lp_b") || !closed {
		t.Fatalf("got %v, closed %t", err, closed)
	}
}

func TestClosingEndsTheContextsOfLocksAndRefusesMore(t *testing.T) {
	s, err := locking.New(bg, locking.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := s.TryAcquire(bg, locking.Keys("k"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(bg); err != nil {
		t.Fatal(err)
	}
	select {
	case <-lock.Context().Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the lock's context goes on")
	}
	if cause := context.Cause(lock.Context()); !errors.Is(cause, locking.ErrClosed) {
		t.Errorf("its cause is %v", cause)
	}
	if _, err := s.TryAcquire(bg, locking.Keys("l")); !errors.Is(err, locking.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestTheServiceIsResolvedAsModulesLocking(t *testing.T) {
	s, _, err := open(t)
	if err != nil {
		t.Fatal(err)
	}
	c := container.New()
	container.MustRegister(c, locking.ServiceKey, s)
	if got := container.MustResolve(c, locking.ServiceKey); got != s || locking.ServiceKey.Name() != "Modules.LOCKING" {
		t.Fatalf("got %v under %q", got, locking.ServiceKey.Name())
	}
}

func ExampleService_Acquire() {
	locks, err := locking.New(bg, locking.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer locks.Close(bg)
	lock, err := locks.Acquire(bg, locking.Keys("prod_123"), locking.Expire(time.Minute))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lock.Close()
	_, err = locks.TryAcquire(bg, locking.Keys("prod_123"))
	fmt.Println(err)
	// Output: locking: Failed to acquire lock for key "prod_123"
}

func ExampleService_Execute() {
	locks, err := locking.New(bg, locking.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer locks.Close(bg)
	err = locks.Execute(bg, locking.Keys("prod_123", "prod_456"), func(ctx context.Context) error {
		fmt.Println("both are held, until this returns; ctx ends when one is lost")
		return nil
	})
	fmt.Println(err)
	// Output:
	// both are held, until this returns; ctx ends when one is lost
	// <nil>
}

func ExampleDo() {
	locks, err := locking.New(bg, locking.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer locks.Close(bg)
	left, err := locking.Do(bg, locks, locking.Keys("prod_123"), func(context.Context) (int, error) { return 7, nil })
	fmt.Println(left, err)
	// Output: 7 <nil>
}
