package lockstep_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testBound is how long an order waits for its product here.
const testBound = 30 * time.Second

var (
	errDeclined = errors.New("card declined")
	errSoldOut  = errors.New("sold out")
	errShipping = errors.New("no carrier")
)

type order struct {
	Product, Card, Address string
}

// shop is the world that orders act on. Reading the stock and writing it are two
// acts: only a lock keeps what stands between them.
type shop struct {
	mu     sync.Mutex
	stock  map[string]int
	events []string
}

var shopKey = container.NewKey[*shop]("shop")

func (s *shop) read(product string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stock[product]
}

func (s *shop) write(product string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stock[product] = n
}

func (s *shop) note(ctx *steps.Context, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, ctx.ExecutionID()+" "+what)
}

// of returns what happened in one execution, in order.
func (s *shop) of(id string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, e := range s.events {
		var own, what string
		if _, err := fmt.Sscanf(e, "%s %s", &own, &what); err == nil && own == id {
			all = append(all, what)
		}
	}
	return all
}

// change takes n pieces under the product's lock.
func change(ctx *steps.Context, product string, n int) error {
	locks, err := container.Resolve(ctx, locking.ServiceKey)
	if err != nil {
		return err
	}
	s := container.MustResolve(ctx, shopKey)
	return locks.Execute(ctx, locking.Keys(product), func(context.Context) error {
		left := s.read(product)
		if left < n {
			return steps.Permanent(errSoldOut)
		}
		s.write(product, left-n)
		return nil
	}, locking.Wait(testBound))
}

func noted(name string, fail func(order) error) *steps.Step[order, string] {
	return steps.New(name, func(ctx *steps.Context, in order) (string, error) {
		if err := fail(in); err != nil {
			return "", err
		}
		container.MustResolve(ctx, shopKey).note(ctx, name)
		return name, nil
	}, steps.Undo(func(ctx *steps.Context, _ string) error {
		container.MustResolve(ctx, shopKey).note(ctx, "undo-"+name)
		return nil
	}), steps.CompensateOnlyDone())
}

var placeOrder = workflow.New("place-order", func(b *workflow.Builder, in workflow.Value[order]) workflow.Value[string] {
	product := workflow.Map(b, in, func(o order) string { return o.Product })
	reserved := workflow.Do(b, steps.NewReversible("reserve",
		func(ctx *steps.Context, product string) (int, string, error) {
			err := change(ctx, product, 1)
			if err == nil {
				container.MustResolve(ctx, shopKey).note(ctx, "reserve")
			}
			return 1, product, err
		},
		func(ctx *steps.Context, product string) error {
			container.MustResolve(ctx, shopKey).note(ctx, "undo-reserve")
			return change(ctx, product, -1)
		}, steps.CompensateOnlyDone()), product)
	workflow.Do(b, noted("charge", func(o order) error {
		if o.Card == "declined" {
			return errDeclined
		}
		return nil
	}), in)
	shipped := workflow.Do(b, noted("ship", func(o order) error {
		if o.Address == "" {
			return errShipping
		}
		return nil
	}), in)
	return workflow.Transform2(b, reserved, shipped, func(n int, s string) (string, error) {
		return fmt.Sprintf("%d %s", n, s), nil
	})
})

// onEachProvider runs a test over the in-memory locks and over real Redis.
func onEachProvider(t *testing.T, run func(t *testing.T, e *workflow.Engine, locks *locking.Service, s *shop)) {
	t.Helper()
	for name, provider := range map[string]func(t *testing.T) driver.Provider{
		"in memory": func(*testing.T) driver.Provider { return lockmem.New(lockmem.Config{}) },
		"on Redis": func(t *testing.T) driver.Provider {
			return lockredis.New(lockredis.Config{RedisURL: redistest.Start(t).URL()})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			log := slog.New(slog.DiscardHandler)
			locks, err := locking.New(ctx, locking.Config{Logger: log, Providers: []locking.Registration{{ID: "test", Provider: provider(t)}}})
			if err != nil {
				t.Fatal(err)
			}
			s := &shop{stock: map[string]int{"prod_123": 20}}
			c := container.New()
			container.MustRegister(c, locking.ServiceKey, locks)
			container.MustRegister(c, shopKey, s)
			e, err := workflow.NewEngine(workflow.Config{Container: c, Store: storemem.New(), Workflows: workflow.Set{placeOrder}, Logger: log})
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Start(ctx); err != nil {
				t.Fatal(err)
			}
			run(t, e, locks, s)
			if err := e.Stop(ctx); err != nil {
				t.Error(err)
			}
			// Nothing is left locked.
			lock, err := locks.TryAcquire(ctx, locking.Keys("prod_123"))
			if err != nil {
				t.Errorf("after the engine's stop: %v", err)
			} else if err := lock.Release(ctx); err != nil {
				t.Error(err)
			}
			if err := locks.Close(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestConcurrentOrdersSellExactlyWhatThereIs(t *testing.T) {
	onEachProvider(t, func(t *testing.T, e *workflow.Engine, _ *locking.Service, s *shop) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		counts := map[string]int{}
		for i := range 60 {
			o := order{"prod_123", "good", "home"}
			if i%6 == 5 {
				o.Card = "declined"
			}
			wg.Go(func() {
				_, err := workflow.Run(context.Background(), e, placeOrder, o)
				what := fmt.Sprint(err)
				switch {
				case err == nil:
					what = "sold"
				case errors.Is(err, errSoldOut):
					what = "refused"
				case errors.Is(err, errDeclined):
					what = "compensated"
				}
				mu.Lock()
				defer mu.Unlock()
				counts[what]++
			})
		}
		wg.Wait()
		if left := s.read("prod_123"); counts["sold"]+left != 20 || counts["sold"]+counts["refused"]+counts["compensated"] != 60 {
			t.Errorf("%v, and %d left of 20", counts, left)
		}
	})
}

func TestAFailureUndoesWhatWasDoneInReverseAndGivesTheStockBack(t *testing.T) {
	onEachProvider(t, func(t *testing.T, e *workflow.Engine, _ *locking.Service, s *shop) {
		_, err := workflow.Run(context.Background(), e, placeOrder, order{"prod_123", "good", ""}, workflow.WithExecutionID("lost"))
		failed, ok := errors.AsType[*workflow.ExecutionError](err)
		if !ok || failed.State != store.Reverted || !errors.Is(err, errShipping) {
			t.Fatalf("got %v", err)
		}
		if step, ok := errors.AsType[*workflow.StepError](err); !ok || step.Step != "ship" || step.Phase != "invoke" {
			t.Errorf("got %+v", step)
		}
		want := []string{"reserve", "charge", "undo-charge", "undo-reserve"}
		if got := s.of("lost"); !slices.Equal(got, want) {
			t.Errorf("it happened %v, want %v", got, want)
		}
		if left := s.read("prod_123"); left != 20 {
			t.Errorf("%d left of 20", left)
		}
	})
}

func TestAnOrderThatIsPlacedTwiceIsOneOrder(t *testing.T) {
	onEachProvider(t, func(t *testing.T, e *workflow.Engine, _ *locking.Service, s *shop) {
		ctx, o := context.Background(), order{"prod_123", "good", "home"}
		for range 2 {
			if out, err := workflow.Run(ctx, e, placeOrder, o, workflow.WithExecutionID("same")); err != nil || out != "1 ship" {
				t.Fatalf("got %q, %v", out, err)
			}
		}
		if left := s.read("prod_123"); left != 19 {
			t.Errorf("%d left of 20, after one order", left)
		}
		o.Address = "elsewhere"
		if _, err := workflow.Run(ctx, e, placeOrder, o, workflow.WithExecutionID("same")); !errors.Is(err, workflow.ErrIDConflict) {
			t.Errorf("another order under the same id: %v", err)
		}
	})
}
