package lockingtest

import (
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// What a provider's storage keeps after a case is that case's failure.
func TestWhatIsLeftIsNoticed(t *testing.T) {
	t.Parallel()
	subject := lastingMemory(t)
	subject.Left = func(testing.TB) []string { return []string{"a key", "a ticket"} }
	rec := record(t, subject, providerCase{rule: "nothing", run: func(*rig) {}}, 10*time.Millisecond)
	if !rec.Failed() || !strings.Contains(rec.text(), "a ticket") {
		t.Errorf("a case that left a key and a ticket says: %s", rec.text())
	}
}

// A case need not tidy up: holds, calls that wait and tickets are ended for it.
func TestWhatACaseHasOpenIsGivenBack(t *testing.T) {
	t.Parallel()
	rec := record(t, lastingMemory(t), providerCase{rule: "nothing", run: func(r *rig) {
		r.take(ask("holder", "a"))
		r.take(ask(driver.Anonymous, "b"))
		r.line(ask("waiter", "a", "b"))
		r.park(ticket("parked", ask("owner", "a")))
		r.offered(ticket("offered", ask("owner", "c")))
		r.takeAt(r.another(), ask("elsewhere", "d"))
	}}, mutantPatience)
	if rec.Failed() {
		t.Errorf("a case that left everything open has failed: %s", rec.text())
	}
}
