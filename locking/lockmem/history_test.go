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
	w := lockhistory.Workload{Seed: 1, Ops: 30_000, Workers: 32, Keys: 8, Era: 3000, Wait: 20 * time.Second}
	w.Run(t.Context(), p, r)
	h := r.History()
	v := lockhistory.Judge{Bound: 20 * time.Second, Dir: os.TempDir()}.Check(h)
	t.Log(lockhistory.Tell(h, v))
	for _, fault := range v.Faults {
		t.Error(fault)
	}
	if v.Pairs == 0 {
		t.Error("nobody was seen waiting when another one asked: the order was not judged")
	}
}
