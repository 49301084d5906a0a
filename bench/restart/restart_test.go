package restart_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/bench/restart"
)

func TestMain(m *testing.M) {
	if restart.IsChild() {
		if err := restart.Child(context.Background(), os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func TestQuickRunMeasuresEveryPartAndKeepsItsBudgets(t *testing.T) {
	cfg := restart.Quick()
	cfg.Folder, cfg.Slack = t.TempDir(), 6
	cfg.Killed, cfg.Stopped, cfg.AtWork, cfg.Sleeping = []int{150}, []int{600}, 60, 4_000 // under the race detector SQLite is slow
	r, err := restart.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
	for _, id := range []string{
		"killed.first.ms", "killed.memory.MiB", "killed.at-work", "stopped.first.ms", "stopped.memory.MiB", "stopped.at-work",
		"sleeping.insert.s", "sleeping.memory.MiB", "sleeping.late.ms",
	} {
		if !strings.Contains(out.String(), "budget restart."+id+" measured=") {
			t.Errorf("no budget restart.%s", id)
		}
	}
	for _, b := range r.Budgets {
		if !b.OK() {
			t.Error(b)
		}
	}
}

func TestUnknownPartIsNamedWithThoseThereAre(t *testing.T) {
	_, err := restart.Run(t.Context(), restart.Config{Only: []string{"nothing"}})
	if err == nil || !strings.Contains(err.Error(), `"nothing"`) || !strings.Contains(err.Error(), "killed, stopped, sleeping") {
		t.Error(err)
	}
}
