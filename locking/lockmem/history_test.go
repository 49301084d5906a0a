package lockmem_test

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/lockhistory"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
)

func TestHistoriesOfLocksInMemoryAreThoseOfALock(t *testing.T) {
	p := lockmem.New(lockmem.Config{})
	if err := p.Start(t.Context(), driver.Env{ID: "mem", Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	r := lockhistory.NewRecorder(0)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w := lockhistory.Workload{
		Seed: uint64(time.Now().UnixNano()), Ops: 30_000, Workers: 32, Keys: 8, Era: 3000,
		Wait: 20 * time.Second, Full: 20 * time.Second, Forever: 50,
	}
	t.Logf("the seed is %d", w.Seed)
	w.Run(ctx, p, r)
	h := r.History()
	v := lockhistory.Judge{Bound: 20 * time.Second, Dir: os.TempDir()}.Check(h)
	t.Log(lockhistory.Tell(h, v))
	for _, fault := range v.Faults {
		t.Error(fault)
	}
	if ctx.Err() != nil {
		t.Errorf("it took longer than a minute")
	}
	if v.Pairs == 0 {
		t.Error("nobody was seen waiting when another one asked: the order was not judged")
	}
}
