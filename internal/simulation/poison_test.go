package simulation

import (
	"errors"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

// A step that kills its process each time is found out after three deaths under the
// mark, and its execution fails alone: a thousand innocents, which are in the same
// processes, come to their ends (I11).
func TestI11OnePoisonStepAmongAThousandInnocents(t *testing.T) {
	const innocents = 1000
	poisoned := "e" + itoa(innocents)
	kill := 0
	w := simulate(t, 1, func(w *world) {
		peaceful(w, 3)
		w.p.executions, w.p.spread, w.p.delay = innocents+1, 20*time.Second, 20*time.Millisecond
		w.p.bound = time.Hour // suspects go one after the other
		w.changeNature = func(d *deed, b *nature) {
			b.ending = succeeds
			if d.invoke && d.m.x.ID == poisoned && d.n.name == "do1" {
				b.ending, b.early = kills, true
				kill++
			}
		}
	})
	report(t, w)
	for _, c := range w.clients {
		if c.id != poisoned {
			if c.err != nil {
				t.Errorf("innocent %s: %v", c.id, c.err)
			}
			continue
		}
		x, ok := errors.AsType[*workflow.ExecutionError](c.err)
		var loop *workflow.CrashLoopError
		if !ok || x.State != store.Reverted || !errors.As(c.err, &loop) || loop.Deaths != mostDeaths {
			t.Errorf("the poisoned one: %v", c.err)
		}
	}
	if kill != mostDeaths+1 { // the first time it is not marked
		t.Errorf("it has killed %d processes", kill)
	}
}
