package executions_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/bench/executions"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestQuickRunMeasuresEveryPartAndPrintsItsBudgets(t *testing.T) {
	cfg := executions.Quick()
	cfg.Progress = io.Discard
	r, err := executions.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{
		"engine.memory.3steps.64", "engine.cost.100", "engine.cost.1000", "engine.cost.10000", "engine.parked.MiB", "engine.parked.goroutines",
		"engine.sqlite.full.floor", "engine.sqlite.full.dbos", "engine.sqlite.normal.dbos",
	} {
		if !strings.Contains(out.String(), "budget "+id+" measured=") {
			t.Errorf("no budget %s in\n%s", id, out.String())
		}
	}
}

func TestUnknownPartIsNamedWithThoseThereAre(t *testing.T) {
	_, err := executions.Run(t.Context(), executions.Config{Only: []string{"nothing"}})
	if err == nil || !strings.Contains(err.Error(), `"nothing"`) || !strings.Contains(err.Error(), "memory, cost, parked, sqlite") {
		t.Error(err)
	}
}
