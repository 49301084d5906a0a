package lockredis

import (
	"strings"
	"testing"
)

// Fault is an edit of a Lua source that breaks the protocol.
type Fault struct{ File, Old, New string }

// Plant breaks the protocol for the rest of a test, in which no provider may run yet. An
// edit that does not find its text, once, is an error: a fault must not rot.
func Plant(t testing.TB, faults ...Fault) {
	t.Helper()
	sources := map[string]*string{
		"plain.lua": &plainSource, "queue.lua": &queueSource, "serve.lua": &serveSource, "state.lua": &stateSource,
		"acquire.lua": &acquireSource, "release.lua": &releaseSource, "extend.lua": &extendSource,
		"cancel.lua": &cancelSource, "claim.lua": &claimSource, "tick.lua": &tickSource, "force.lua": &forceSource,
	}
	scripts := map[*script]*string{
		acquireScript: &acquireSource, releaseScript: &releaseSource, extendScript: &extendSource,
		cancelScript: &cancelSource, claimScript: &claimSource, tickScript: &tickSource, forceScript: &forceSource,
		inspectScript: &inspectSource, listScript: &listSource,
	}
	rebuild := func() {
		for s, source := range scripts {
			made := newScript(s.name, *source)
			s.source, s.sha = made.source, made.sha
		}
	}
	t.Cleanup(rebuild) // the last of the cleanups
	for _, f := range faults {
		source := sources[f.File]
		if source == nil || strings.Count(*source, f.Old) != 1 {
			t.Fatalf("%s does not have once: %s", f.File, f.Old)
		}
		intact := *source
		t.Cleanup(func() { *source = intact })
		*source = strings.Replace(*source, f.Old, f.New, 1)
	}
	rebuild()
}
