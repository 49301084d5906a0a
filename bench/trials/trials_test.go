package trials

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/bench/locks"
	"github.com/lockstep-dev/lockstep/bench/measure"
	"github.com/lockstep-dev/lockstep/bench/server"
)

func TestMain(m *testing.M) {
	if IsChild() { // the contests start this binary again
		if err := Child(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func TestAQuickRunMeasuresEverythingAndJudgesEachBudget(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	report, err := Run(ctx, Quick())
	if errors.Is(err, server.ErrNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := report.Print(&text); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{
		"uncontended.1", "roundtrips", "uncontended.64", "uncontended.64.peers",
		"contended.1p.commands", "contended.1p.p99p50", "contended.1p.jain",
		"contended.1p.handoffs-fair-peer", "contended.1p.handoffs-unfair-peer",
		"contended.4p.commands", "contended.4p.p99p50", "contended.4p.jain",
		"contended.4p.handoffs-fair-peer", "contended.4p.handoffs-unfair-peer",
	} {
		if !strings.Contains(text.String(), "\nbudget locks."+id+" measured=") {
			t.Errorf("no budget %s", id)
		}
	}
	for _, c := range locks.All() {
		if !strings.Contains(text.String(), "\n  "+c.Name+" ") {
			t.Errorf("no row of %s", c.Name)
		}
	}
	if n := strings.Count(text.String(), "\n  stalls of this machine: "); n != 2 {
		t.Errorf("%d contended tables tell of the machine's stalls, want both", n)
	}
	for _, part := range report.Contended {
		if part.Stalls.Watched <= 0 {
			t.Errorf("%d processes: the machine was not watched", part.Processes)
		}
	}
	if t.Failed() {
		t.Log(text.String())
	}
	if _, err := json.Marshal(report); err != nil {
		t.Error(err)
	}
}

func TestPartsThatDoNotExistAreRefused(t *testing.T) {
	for _, only := range []string{"contended.2p", ""} {
		cfg := Quick()
		cfg.Only = []string{only}
		if _, err := Run(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), "contended.4p") {
			t.Errorf("%q: %v", only, err)
		}
	}
	cfg := Quick()
	cfg.Only = []string{"contended"}
	if !cfg.wants("contended.1p") || !cfg.wants("contended.4p") || cfg.wants("uncontended.1") {
		t.Error(`"contended" is not the two parts that begin so`)
	}
}

func TestTheWitnessNoticesTwoInsideAndATokenThatDoesNotRise(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(*witness)
		bad     bool
	}{
		"one after the other":      {func(w *witness) { w.pass(1); w.pass(2); w.pass(0); w.pass(0) }, false},
		"two inside":               {func(w *witness) { w.shared.inside.Add(1); w.pass(0) }, true},
		"a token twice":            {func(w *witness) { w.pass(7); w.pass(7) }, true},
		"a token below an earlier": {func(w *witness) { w.pass(7); w.pass(6) }, true},
	} {
		path, w, err := newWitness(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		other, err := openWitness(path) // as another process does
		if err != nil {
			t.Fatal(err)
		}
		c.happens(w)
		if err := other.verdict("x"); (err != nil) != c.bad {
			t.Errorf("%s: %v", name, err)
		}
		if err := errors.Join(w.close(), other.close()); err != nil {
			t.Error(err)
		}
	}
}

func TestFairnessAtAMomentSeesBargingThatEvensOut(t *testing.T) {
	all, jain, briefly := fairness([][]int{{10, 0}, {0, 10}})
	if all != 20 || jain != 1 || briefly != 0.5 {
		t.Errorf("got %d, %v, %v", all, jain, briefly)
	}
}

func TestAWaitThatIsNotServedIsNoHandOff(t *testing.T) {
	r := figures(tally{
		Turns: [][]int{{1}, {1}}, Waits: []time.Duration{1, 2, 90}, Commands: 4, Unserved: 1,
	}, time.Second)
	if r.commands != 2 || r.rate != 2 || r.max != 90 {
		t.Errorf("got %+v", r)
	}
}

func TestTheFairPeerIsTheFastestOfThoseWhoAreFair(t *testing.T) {
	row := func(name string, kind locks.Kind, rate, jain float64) ContendedRow {
		return ContendedRow{Name: name, kind: kind, rates: []float64{rate}, Rate: measure.Over([]float64{rate}), Jain: jain}
	}
	part := Contended{Processes: 4, Rows: []ContendedRow{
		row("ours", locks.Ours, 100, 1), row("floor", locks.Floor, 999, 1),
		row("slow", locks.Peer, 10, 0.99), row("fair", locks.Peer, 40, 0.95), row("unfair", locks.Peer, 200, 0.9),
	}}
	lines := func() (text string) {
		for _, b := range togetherBudgets(part) {
			text += b.String() + "\n"
		}
		return text
	}
	for _, want := range []string{
		"budget locks.contended.4p.handoffs-fair-peer measured=2.500 wants=>=2 ok\n",
		"budget locks.contended.4p.handoffs-unfair-peer measured=0.500 wants=>=0.9 short\n",
	} {
		if !strings.Contains(lines(), want) {
			t.Errorf("%s lacks\n%s", lines(), want)
		}
	}
	part.Rows = part.Rows[:4]
	if want := "handoffs-unfair-peer measured=none wants=>=0.9 ok"; !strings.Contains(lines(), want) {
		t.Errorf("%s lacks\n%s", lines(), want)
	}
}

func TestTheBudgetAtSixtyFourIsBehindNoPeer(t *testing.T) {
	row := func(kind locks.Kind, rates ...float64) UncontendedRow {
		return UncontendedRow{kind: kind, rates: rates, ToFloor: measure.Over(rates)}
	}
	part := Uncontended{Callers: 64, Rows: []UncontendedRow{
		row(locks.Ours, 1.3, 1.3, 1.3), row(locks.Floor, 1, 1, 1),
		row(locks.Peer, 0.5, 0.5, 0.5), row(locks.Peer, 1.3, 2.6, 1.3),
	}}
	var text string
	for _, b := range aloneBudgets(part) {
		text += b.String() + "\n"
	}
	const want = "budget locks.uncontended.64 measured=1.300 wants=>=1.25 ok\n" +
		"budget locks.uncontended.64.peers measured=1.000 wants=>=0.97 ok\n"
	if text != want {
		t.Errorf("got\n%swant\n%s", text, want)
	}
}
