package locking_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// glass is a provider that can be looked into. It notes what it is asked.
type glass struct {
	driver.Provider

	state   driver.State
	pages   []driver.Page // the cursor of a page is its number
	had     bool
	records []driver.AuditRecord
	err     error // answers everything
	asked   []any
}

func (g *glass) Inspect(_ context.Context, key string, waiters int) (driver.State, error) {
	g.asked = append(g.asked, key, waiters)
	return g.state, g.err
}

func (g *glass) List(_ context.Context, req driver.ListRequest) (driver.Page, error) {
	g.asked = append(g.asked, req)
	n := 0
	if req.Cursor != "" {
		if _, err := fmt.Sscan(req.Cursor, &n); err != nil {
			return driver.Page{}, err
		}
	}
	if n == len(g.pages) {
		return driver.Page{}, g.err
	}
	return g.pages[n], nil
}

func (g *glass) ForceRelease(_ context.Context, req driver.ForceRequest) (bool, error) {
	g.asked = append(g.asked, req)
	return g.had, g.err
}

func (g *glass) Audit(_ context.Context, limit int) ([]driver.AuditRecord, error) {
	g.asked = append(g.asked, limit)
	return g.records, g.err
}

// opaque hides all that a provider can do beyond the seam.
type opaque struct{ driver.Provider }

// lookInto is a service whose default provider is the one given, beside one that
// cannot be looked into.
func lookInto(t *testing.T, g *glass) *locking.Service {
	t.Helper()
	g.Provider = mem()
	s, _, err := open(t, locking.Registration{ID: "glass", Provider: g, IsDefault: true}, locking.Registration{ID: "opaque", Provider: opaque{mem()}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (g *glass) wantAsked(t *testing.T, want ...any) {
	t.Helper()
	if !reflect.DeepEqual(g.asked, want) {
		t.Errorf("the provider was asked %+v, want %+v", g.asked, want)
	}
	g.asked = nil
}

func keysListed(s *locking.Service, opts ...locking.ListOption) (keys []string, err error) {
	for lock, e := range s.List(bg, opts...) {
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		keys = append(keys, lock.Key)
	}
	return keys, err
}

func TestInspectAsksForTenWaitersUnlessItIsToldHowMany(t *testing.T) {
	g := &glass{state: driver.State{Key: "k", Held: true, Owner: "me"}}
	s := lookInto(t, g)
	for want, opts := range map[int][]locking.InspectOption{
		10:   nil,
		0:    {locking.Waiters(0)},
		1000: {locking.Waiters(1000), locking.WithProvider("lp_glass")},
	} {
		if got, err := s.Inspect(bg, "k", opts...); err != nil || !reflect.DeepEqual(got, g.state) {
			t.Errorf("got %+v, %v", got, err)
		}
		g.wantAsked(t, "k", want)
	}
}

func TestAListGoesThroughAllPagesTheEmptyOnesToo(t *testing.T) {
	g := &glass{pages: []driver.Page{
		{Locks: []driver.State{{Key: "a"}, {Key: "b"}}, Next: "1"}, {Next: "2"}, {Locks: []driver.State{{Key: "c"}}},
	}}
	s := lookInto(t, g)
	if keys, err := keysListed(s); err != nil || !slices.Equal(keys, []string{"a", "b", "c"}) {
		t.Errorf("got %q, %v", keys, err)
	}
	g.wantAsked(t, driver.ListRequest{}, driver.ListRequest{Cursor: "1"}, driver.ListRequest{Cursor: "2"})
	if keys, err := keysListed(s, locking.IncludeForeign()); err != nil || len(keys) != 3 {
		t.Errorf("got %q, %v", keys, err)
	}
	g.wantAsked(t, driver.ListRequest{IncludeForeign: true}, driver.ListRequest{IncludeForeign: true, Cursor: "1"}, driver.ListRequest{IncludeForeign: true, Cursor: "2"})
}

func TestAListThatIsLeftAsksForNoMorePages(t *testing.T) {
	g := &glass{pages: []driver.Page{{Locks: []driver.State{{Key: "a"}, {Key: "b"}}, Next: "1"}, {Locks: []driver.State{{Key: "c"}}}}}
	list := lookInto(t, g).List(bg)
	if len(g.asked) != 0 {
		t.Error("it asks before somebody looks")
	}
	for lock := range list {
		if lock.Key != "a" {
			t.Errorf("got %+v", lock)
		}
		break
	}
	g.wantAsked(t, driver.ListRequest{})
}

func TestAnErrorEndsAList(t *testing.T) {
	g := &glass{pages: []driver.Page{{Locks: []driver.State{{Key: "a"}}, Next: "1"}}, err: errors.New("no answer")}
	keys, err := keysListed(lookInto(t, g))
	if !slices.Equal(keys, []string{"a"}) || !errors.Is(err, g.err) || !strings.Contains(err.Error(), "lp_glass") {
		t.Errorf("got %q, %v", keys, err)
	}
}

// tools are the calls that need an Inspector, each with arguments that can be.
func tools(s *locking.Service, provider string) map[string]func(ctx context.Context) error {
	with := locking.WithProvider(provider)
	return map[string]func(ctx context.Context) error{
		"Inspect": func(ctx context.Context) error { _, err := s.Inspect(ctx, "k", with); return err },
		"List": func(ctx context.Context) error {
			var last error
			for _, err := range s.List(ctx, with) {
				last = err
			}
			return last
		},
		"ForceRelease": func(ctx context.Context) error {
			_, err := s.ForceRelease(ctx, "k", "me", 1, "why", with)
			return err
		},
		"Audit": func(ctx context.Context) error { _, err := s.Audit(ctx, 1, with); return err },
	}
}

func TestAProviderThatCannotBeLookedIntoIsNamed(t *testing.T) {
	s := lookInto(t, &glass{})
	for call, do := range tools(s, "lp_opaque") {
		var no *locking.NotSupportedError
		err := do(bg)
		if !errors.As(err, &no) || !errors.Is(err, locking.ErrNotSupported) || *no != (locking.NotSupportedError{Provider: "lp_opaque", Call: call}) {
			t.Errorf("%s: %v", call, err)
		}
	}
}

func TestAnUnknownProviderIsNoInspectorEither(t *testing.T) {
	s := lookInto(t, &glass{})
	for call, do := range tools(s, "lp_nobody") {
		if err := do(bg); !errors.Is(err, locking.ErrUnknownProvider) {
			t.Errorf("%s: %v", call, err)
		}
	}
}

func TestTheErrorsOfAnInspectorAreToldInThisPackagesWords(t *testing.T) {
	g := &glass{}
	s := lookInto(t, g)
	cause := errors.New("the caller's own reason")
	ended, cancel := context.WithCancelCause(bg)
	cancel(cause)
	for _, c := range []struct {
		ctx       context.Context
		err, want error
	}{
		{bg, driver.ErrClosed, locking.ErrClosed},
		{bg, fmt.Errorf("wrapped: %w", driver.ErrForeign), locking.ErrForeign},
		{bg, errBroken, errBroken},
		{ended, context.Canceled, context.Canceled},
		{ended, context.Canceled, cause},
	} {
		g.err = c.err
		for call, do := range tools(s, "lp_glass") {
			if err := do(c.ctx); !errors.Is(err, c.want) || !strings.Contains(err.Error(), "lp_glass") {
				t.Errorf("%s of a provider that says %v: %v", call, c.err, err)
			}
		}
	}
}

var errBroken = errors.New("the server is broken")

func TestBadArgumentsOfToolsAreRefusedBeforeTheProviderIsAsked(t *testing.T) {
	g := &glass{}
	s := lookInto(t, g)
	long := strings.Repeat("x", 64<<10+1)
	for name, do := range map[string]func() error{
		"key, empty":       func() error { _, err := s.Inspect(bg, ""); return err },
		"key, too long":    func() error { _, err := s.Inspect(bg, long); return err },
		"Waiters, below":   func() error { _, err := s.Inspect(bg, "k", locking.Waiters(-1)); return err },
		"Waiters, above":   func() error { _, err := s.Inspect(bg, "k", locking.Waiters(1001)); return err },
		"key, forced":      func() error { _, err := s.ForceRelease(bg, "", "me", 1, ""); return err },
		"owner, empty":     func() error { _, err := s.ForceRelease(bg, "k", "", 1, ""); return err },
		"reason, too long": func() error { _, err := s.ForceRelease(bg, "k", "me", 1, long[:locking.MaxReasonBytes+1]); return err },
		"limit, zero":      func() error { _, err := s.Audit(bg, 0); return err },
		"limit, below":     func() error { _, err := s.Audit(bg, -1); return err },
	} {
		var bad *locking.InvalidError
		err := do()
		if argument, _, _ := strings.Cut(name, ","); !errors.As(err, &bad) || bad.Argument != argument || len(err.Error()) > 1000 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(g.asked) != 0 {
		t.Errorf("the provider was asked %+v", g.asked)
	}
}
