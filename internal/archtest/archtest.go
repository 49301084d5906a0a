// Package archtest says which package may import which. Its test compares that
// with what they do import.
package archtest

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Module is the path of this module.
const Module = "github.com/lockstep-dev/lockstep"

// Rule is what a package may import beside the standard library.
type Rule struct {
	Own   []string // packages of this module, as patterns of [path.Match]
	Third []string // third parties, by the beginning of their path
}

const (
	goRedis = "github.com/redis/go-redis"
	uuid    = "github.com/google/uuid"
	fx      = "go.uber.org/fx"
	otel    = "go.opentelemetry.io/otel"
	cron    = "github.com/robfig/cron"
	sqlite  = "modernc.org/sqlite"
	cobra   = "github.com/spf13/cobra"
	history = "github.com/anishathalye/porcupine"
)

// public is what programs outside may import.
func public(extra ...string) []string {
	return append([]string{
		"container", "locking", "locking/*", "steps", "steps/*", "workflow", "workflow/*", "store", "store/*", "lockstepfx",
	}, extra...)
}

// Rules has a rule for each package, the first pattern that matches.
func Rules() []struct {
	Package string
	Rule
} {
	return []struct {
		Package string
		Rule
	}{
		{"container", Rule{}},
		{"store", Rule{}},
		{"locking/driver", Rule{}},
		{"internal/runctx", Rule{}},
		{"internal/plan", Rule{}},
		{"internal/archtest", Rule{}},
		{"internal/faults", Rule{}},
		{"internal/simulation", Rule{}},
		{"internal/machine", Rule{Own: []string{"internal/plan", "store"}}},
		{"steps", Rule{Own: []string{"container", "internal/plan", "internal/runctx"}}},
		{"locking", Rule{Own: []string{"locking/driver", "locking/lockmem", "container", "internal/runctx"}, Third: []string{uuid}}},
		{"internal/engine", Rule{
			Own:   []string{"internal/plan", "internal/machine", "internal/runctx", "store", "container"},
			Third: []string{uuid, otel, cron},
		}},
		{"workflow", Rule{Own: []string{
			"steps", "container", "store", "locking", "locking/driver",
			"internal/plan", "internal/machine", "internal/engine", "internal/runctx",
		}}},
		{"internal/rediskit", Rule{Third: []string{goRedis}}},
		{"internal/redistest", Rule{Third: []string{goRedis}}},
		{"internal/lockhistory", Rule{Own: []string{"locking/driver"}, Third: []string{history}}},
		{"locking/lockmem", Rule{Own: []string{"locking/driver"}}},
		{"locking/lockredis", Rule{Own: []string{"locking/driver", "internal/rediskit"}, Third: []string{goRedis, uuid}}},
		{"locking/locksteps", Rule{Own: []string{"locking", "steps", "container", "internal/runctx"}}},
		{"locking/lockingtest", Rule{Own: []string{"locking", "locking/driver", "locking/lockmem", "internal/runctx"}}},
		{"store/storemem", Rule{Own: []string{"store"}}},
		{"store/storesqlite", Rule{Own: []string{"store"}, Third: []string{sqlite}}},
		{"store/storeredis", Rule{Own: []string{"store", "internal/rediskit"}, Third: []string{goRedis}}},
		{"store/storetest", Rule{Own: []string{"store"}}},
		{"steps/stepstest", Rule{Own: []string{"steps", "container", "store", "internal/plan", "internal/runctx"}}},
		{"workflow/workflowtest", Rule{Own: public("internal/engine")}},
		{"lockstepfx", Rule{Own: public(), Third: []string{fx}}},
		{"web", Rule{Own: []string{"workflow", "store", "locking"}}},
		{"cmd/*", Rule{Own: public("web"), Third: []string{cobra, goRedis}}},
		{"examples/fxapp", Rule{Own: public(), Third: []string{fx}}},
		{"examples/*", Rule{Own: public(), Third: []string{goRedis, uuid}}},
		{"", Rule{Own: public()}},
	}
}

// testOnly is what tests may import on top. Those of the examples and of the root
// see what users see, and start servers.
func testOnly(rel string) Rule {
	own := public("internal/*")
	if rel == "" || strings.HasPrefix(rel, "examples/") {
		own = public("internal/redistest")
	}
	return Rule{
		Own: own,
		Third: []string{
			"go.uber.org/goleak", "github.com/google/go-cmp", "pgregory.net/rapid", history, goRedis, uuid,
		},
	}
}

// Package is what is known of a package.
type Package struct {
	ImportPath  string
	Imports     []string
	TestImports []string // of its tests, inside and outside
}

// Check returns what the package must not import.
func Check(p Package) []string {
	rel := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, Module), "/")
	rule, ok := find(rel)
	if !ok {
		return []string{p.ImportPath + " has no row in archtest.Rules: add one"}
	}
	var faults []string
	for _, imp := range p.Imports {
		if !rule.allows(imp) {
			faults = append(faults, fmt.Sprintf("%s must not import %s", p.ImportPath, imp))
		}
	}
	tests := testOnly(rel)
	for _, imp := range p.TestImports {
		if !rule.allows(imp) && !tests.allows(imp) && imp != p.ImportPath {
			faults = append(faults, fmt.Sprintf("the tests of %s must not import %s", p.ImportPath, imp))
		}
	}
	return faults
}

func find(rel string) (Rule, bool) {
	for _, r := range Rules() {
		if ok, err := path.Match(r.Package, rel); ok && err == nil {
			return r.Rule, true
		}
	}
	return Rule{}, false
}

func (r Rule) allows(imp string) bool {
	if own, ok := strings.CutPrefix(imp, Module+"/"); ok {
		return slices.ContainsFunc(r.Own, func(pattern string) bool {
			ok, err := path.Match(pattern, own)
			return ok && err == nil
		})
	}
	if first, _, _ := strings.Cut(imp, "/"); !strings.Contains(first, ".") {
		return true // the standard library
	}
	return slices.ContainsFunc(r.Third, func(third string) bool { return imp == third || strings.HasPrefix(imp, third+"/") })
}
