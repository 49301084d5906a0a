package lockstep_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type order struct {
	Product string
	Card    string
}

var errDeclined = errors.New("card declined")

func TestSmoke(t *testing.T) {
	ctx := context.Background()
	locks, err := locking.New(ctx, locking.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer locks.Close(ctx)
	c := container.New()
	container.MustRegister(c, locking.ServiceKey, locks)
	stock := 20
	reserve := steps.NewReversible("reserve", func(ctx *steps.Context, in order) (int, int, error) {
		l, err := container.Resolve(ctx, locking.ServiceKey)
		if err != nil {
			return 0, 0, err
		}
		lock, err := l.Acquire(ctx, locking.Keys(in.Product))
		if err != nil {
			return 0, 0, err
		}
		defer lock.Close()
		if stock == 0 {
			return 0, 0, steps.Permanent(errors.New("sold out"))
		}
		stock--
		return 1, 1, nil
	}, func(ctx *steps.Context, n int) error {
		if ctx.Outcome() != steps.Succeeded {
			return nil
		}
		l := container.MustResolve(ctx, locking.ServiceKey)
		return l.Execute(ctx, locking.Keys("prod_123"), func(context.Context) error { stock += n; return nil })
	})
	charge := steps.New("charge", func(ctx *steps.Context, in order) (string, error) {
		if in.Card == "bad" {
			return "", errDeclined
		}
		return "ok", nil
	})
	w := workflow.New("place", func(b *workflow.Builder, in workflow.Value[order]) workflow.Value[string] {
		workflow.Do(b, reserve, in)
		return workflow.Do(b, charge, in)
	})
	e, err := workflow.NewEngine(workflow.Config{Container: c, Store: storemem.New(), Workflows: workflow.Set{w}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(ctx); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	sold, declined := 0, 0
	for i := range 60 {
		wg.Go(func() {
			card := "good"
			if i%10 == 0 {
				card = "bad"
			}
			out, err := workflow.Run(ctx, e, w, order{"prod_123", card})
			mu.Lock()
			defer mu.Unlock()
			if out == "ok" {
				sold++
			}
			if errors.Is(err, errDeclined) {
				declined++
			} else if err != nil {
				t.Log(err)
			}
		})
	}
	wg.Wait()
	if err := e.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	t.Log(sold, declined, stock)
}
