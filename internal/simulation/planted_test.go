package simulation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// foundWithin is how long the simulation may take to find a fault.
const foundWithin = time.Minute

// plants are faults of the store, which is the simulation's own.
var plants = map[string]struct {
	plant func(w *world)
	want  string
}{
	"a store that does not compare epochs": {func(w *world) { w.store.broken.noEpoch = true }, "I2: a write"},
	"a write that is acknowledged and lost": {func(w *world) {
		w.store.broken.loses = func(f fate) bool { return f.is("lost write", 0.01) }
	}, "I3: .* no durable write"},
	"a store that lets an instance without a lease create": {func(w *world) { w.store.broken.lax = true }, "I2: .* is created by .*, whose lease is over"},
	"a store that gives what lives to others":              {func(w *world) { w.store.broken.hasty = true }, "I2: .* whose lease is not over"},
}

func TestFaultsOfTheStoreAreFoundWithinAMinute(t *testing.T) {
	for name, p := range plants {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			for seed := *first; time.Since(began) < foundWithin; seed++ {
				w := simulate(t, seed, p.plant)
				if text := strings.Join(w.faults, "\n"); text != "" && regexp.MustCompile(p.want).MatchString(text) {
					t.Logf("found by seed %d after %s: %.200s", seed, time.Since(began).Round(time.Millisecond), text)
					return
				}
			}
			t.Errorf("not found within %s", foundWithin)
		})
	}
}

// edit is a change of a source file, which has the old text once.
type edit struct{ file, old, new string }

// engineFaults are faults of the engine, each behind a question for its name, so that
// one program has them all.
var engineFaults = map[string]struct {
	want  string // what the simulation says of it
	edits []edit
}{
	"locks are given back before that is recorded": {"I3: .* has it in its record", []edit{{
		"internal/engine/run.go",
		"	r.settleLocks(commands)\n",
		"	r.settleLocks(commands)\n	if PLANTED {\n		r.runErrands()\n	}\n",
	}}},
	"what is decided is done before it is recorded": {"I3: .* no durable write", []edit{{
		"internal/engine/run.go",
		"func (r *Run) record(commands []machine.Command) error {\n",
		"func (r *Run) record(commands []machine.Command) error {\n	if PLANTED {\n		r.obey(commands)\n		commands = nil\n	}\n",
	}}},
	"a decision is made again by a new owner": {"has decided upon", []edit{{
		"internal/machine/recover.go",
		"	switch p := progress(&n.Node, phase); {\n",
		`	if PLANTED && phase == Invoke && t.plan().Nodes[at.Node].Kind == plan.WhenNode {
		n.Count = 0
		t.setNode(at, n)
		t.command(Evaluate{at})
		return
	}
	switch p := progress(&n.Node, phase); {
`,
	}}},
	"a step is compensated before the one behind it has been": {"I5: .* is undone, and", []edit{{
		"internal/machine/backward.go",
		"	t.start(at, n, Compensate)\n	return false\n",
		"	t.start(at, n, Compensate)\n	return PLANTED\n",
	}}},
	"a retry does not raise the ordinal": {"I1: .* under the ordinal", []edit{{
		"internal/machine/forward.go",
		"	n.Attempts++\n",
		"	if !PLANTED || n.Attempts == 0 {\n		n.Attempts++\n	}\n",
	}}},
	"a claim does not take the locks over": {"I7: .* does not have it", []edit{{
		"internal/engine/guard.go",
		"	if r.e.cfg.Keeper == nil || r.s.State.Finished() {\n",
		"	if r.e.cfg.Keeper == nil || r.s.State.Finished() || PLANTED {\n",
	}}},
	"an engine that has lost its lease goes on": {"I2: .* whose lease is over", []edit{{
		"internal/engine/lease.go",
		"	e.interrupt(ErrLostLease)\n",
		"	if !PLANTED {\n		e.interrupt(ErrLostLease)\n	}\n",
	}}},
	"a lost lock is asked for again before what runs under it has ended": {"I4: .* asks for its locks again while", []edit{{
		"internal/machine/regain.go",
		"		if t.plan().Nodes[inner.Node].Kind == plan.StepNode && rec.Invoke.Waits == store.NotWaiting {\n",
		"		if t.plan().Nodes[inner.Node].Kind == plan.StepNode && rec.Invoke.Waits == store.NotWaiting && !PLANTED {\n",
	}}},
	"what goes forward goes on when another branch has failed": {"I4: ", []edit{{
		"internal/engine/run.go",
		"	if r.s.State != store.Invoking && len(commands) > 0 {\n",
		"	if r.s.State != store.Invoking && len(commands) > 0 && !PLANTED {\n",
	}}},
	"what holds a lock is let go": {"I8: .* is let go", []edit{{
		"internal/engine/rest.go",
		" && r.s.Rests()\n",
		" && (PLANTED && !r.s.State.Finished() || r.s.Rests())\n",
	}, {
		"internal/engine/rest.go",
		"!r.flights.any() && len(r.guards) == 0 &&",
		"!r.flights.any() && (PLANTED || len(r.guards) == 0) &&",
	}}},
	"a crash loop is never found out": {"I11: ", []edit{{
		"internal/machine/recover.go",
		"	case p.Deaths >= MostDeaths:\n",
		"	case p.Deaths >= MostDeaths && !PLANTED:\n",
	}}},
}

// TestFaultsOfTheEngineAreFoundWithinAMinute builds the simulation over an engine that
// has all the faults, and has it run with one at a time.
func TestFaultsOfTheEngineAreFoundWithinAMinute(t *testing.T) {
	program := buildPlanted(t)
	out, err := runPlanted(t, program, "none", "-seeds=100")
	if err != nil {
		t.Fatalf("without a fault: %v\n%s", err, out)
	}
	for name, f := range engineFaults {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			out, err := runPlanted(t, program, name, "-seeds=1000000000", "-for="+foundWithin.String())
			if _, failed := errors.AsType[*exec.ExitError](err); !failed {
				t.Fatalf("not found within %s: %v\n%s", foundWithin, err, out)
			}
			if !regexp.MustCompile(f.want).MatchString(out) {
				t.Errorf("it is found as something else than %q: %.2000s", f.want, out)
			}
			_, first, _ := strings.Cut(out, "seed ")
			t.Logf("found after %s: seed %.200s", time.Since(began).Round(time.Millisecond), first)
		})
	}
}

func runPlanted(t *testing.T, program, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*foundWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append([]string{"-test.run=^TestSimulation$"}, args...)...)
	cmd.Env = append(os.Environ(), "PLANTED="+name)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// buildPlanted builds the test of this package over sources with the faults.
func buildPlanted(t *testing.T) (program string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replace := map[string]string{}
	put := func(file, text string) {
		path := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, file)] = path
	}
	sources := map[string]string{}
	for name, f := range engineFaults {
		for _, e := range f.edits {
			if sources[e.file] == "" {
				text, err := os.ReadFile(filepath.Join(root, e.file))
				if err != nil {
					t.Fatal(err)
				}
				sources[e.file] = string(text)
			}
		}
		_ = name
	}
	for name, f := range engineFaults {
		for _, e := range f.edits {
			if n := strings.Count(sources[e.file], e.old); n != 1 {
				t.Fatalf("%s: %s has the text %d times:\n%s", name, e.file, n, e.old)
			}
			planted := strings.ReplaceAll(e.new, "PLANTED", fmt.Sprintf("planted(%q)", name))
			sources[e.file] = strings.Replace(sources[e.file], e.old, planted, 1)
		}
	}
	for file, text := range sources {
		put(file, text)
	}
	for _, pkg := range []string{"engine", "machine"} {
		put("internal/"+pkg+"/planted.go", "package "+pkg+"\n\nimport \"os\"\n\nvar fault = os.Getenv(\"PLANTED\")\n\nfunc planted(name string) bool { return name == fault }\n")
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(dir, "planted.test")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-overlay", list, "-c", "-o", program, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}
