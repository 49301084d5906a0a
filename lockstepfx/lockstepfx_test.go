package lockstepfx_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/fx"
	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
	"github.com/lockstep-dev/lockstep/lockstepfx"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type greeting struct{ text string }

var greetingKey = container.NewKey[*greeting]("greeting")

// gate lets a test hold a step back.
type gate struct{ entered, open chan struct{} }

var gateKey = container.NewKey[*gate]("gate")

var greet = workflow.New("greet", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
	return workflow.Do(b, steps.New("greet", func(ctx *steps.Context, name string) (string, error) {
		if g, err := container.Resolve(ctx, gateKey); err == nil {
			close(g.entered)
			<-g.open
		}
		locks, err := container.Resolve(ctx, locking.ServiceKey)
		if err != nil {
			return "", err
		}
		lock, err := locks.TryAcquire(ctx, locking.Keys(name))
		if err != nil {
			return "", err
		}
		defer lock.Close()
		return container.MustResolve(ctx, greetingKey).text + " " + name, nil
	}), in)
})

func app(extra ...fx.Option) (*fx.App, **workflow.Engine, **locking.Service) {
	e, l := new(*workflow.Engine), new(*locking.Service)
	return fx.New(append([]fx.Option{
		fx.NopLogger,
		fx.Supply(slog.New(slog.DiscardHandler), &greeting{"hello"}),
		lockstepfx.Container(), lockstepfx.Locking(), lockstepfx.Engine(workflow.Config{}),
		lockstepfx.Workflows(greet), lockstepfx.Provide(greetingKey), fx.Populate(e, l),
	}, extra...)...), e, l
}

func start(t *testing.T, a *fx.App) {
	t.Helper()
	if err := a.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func stop(t *testing.T, a *fx.App) {
	t.Helper()
	if err := a.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestTheEngineRunsBetweenStartAndStopOfTheApplication(t *testing.T) {
	a, e, _ := app()
	ctx := context.Background()
	if _, err := workflow.Run(ctx, *e, greet, "Ada"); !errors.Is(err, workflow.ErrNotRunning) {
		t.Fatalf("before the start: %v", err)
	}
	start(t, a)
	if out, err := workflow.Run(ctx, *e, greet, "Ada"); out != "hello Ada" || err != nil {
		t.Fatalf("got %q, %v", out, err)
	}
	stop(t, a)
	if _, err := workflow.Run(ctx, *e, greet, "Ada"); !errors.Is(err, workflow.ErrNotRunning) {
		t.Fatalf("after the stop: %v", err)
	}
}

func TestARunningExecutionIsDrainedBeforeTheLocksAreClosed(t *testing.T) {
	g := &gate{make(chan struct{}), make(chan struct{})}
	a, e, _ := app(fx.Supply(g), lockstepfx.Provide(gateKey))
	start(t, a)
	h, err := workflow.Start(context.Background(), *e, greet, "Ada")
	if err != nil {
		t.Fatal(err)
	}
	<-g.entered
	stopped := make(chan error, 1)
	go func() { stopped <- a.Stop(context.Background()) }()
	close(g.open)
	if out, err := h.Wait(context.Background()); out != "hello Ada" || err != nil {
		t.Errorf("got %q, %v", out, err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestAServerThatCannotBeReachedIsTheErrorOfNew(t *testing.T) {
	a, _, _ := app(lockstepfx.Redis(lockstepfx.RedisConfig{Config: lockredis.Config{RedisURL: "redis://:secret@127.0.0.1:1"}}))
	err := a.Err()
	if err == nil || !strings.Contains(err.Error(), "lp_locking-redis") || strings.Contains(err.Error(), "secret") {
		t.Fatalf("got %v", err)
	}
}

func TestTheRedisProviderIsTheDefaultBesideAnother(t *testing.T) {
	server := redistest.Start(t)
	a, e, l := app(
		lockstepfx.Redis(lockstepfx.RedisConfig{IsDefault: true, Config: lockredis.Config{RedisURL: server.URL()}}),
		lockstepfx.LockProvider(locking.Registration{ID: "other", Provider: lockmem.New(lockmem.Config{})}),
	)
	start(t, a)
	if id := (*l).DefaultProvider(); id != "lp_locking-redis" {
		t.Errorf("the default is %s", id)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if out, err := workflow.Run(ctx, *e, greet, "Ada"); out != "hello Ada" || err != nil {
		t.Errorf("got %q, %v", out, err)
	}
	stop(t, a)
}

func TestAKeyThatIsProvidedTwiceIsTheErrorOfNew(t *testing.T) {
	a, _, l := app(lockstepfx.Provide(greetingKey))
	if err := a.Err(); !errors.Is(err, container.ErrAlreadyRegistered) {
		t.Fatalf("got %v", err)
	}
	if *l != nil {
		_ = (*l).Close(context.Background()) // the application never started
	}
}
