package lockredis

import (
	"strings"
	"testing"
)

// HoldPipe keeps back what callers ask, as if all places were taken; nothing may be
// under way. Queued is how many shares are kept; release sends them in one batch.
func (p *Provider) HoldPipe() (queued func() int, release func()) {
	p.pipe.mu.Lock()
	defer p.pipe.mu.Unlock()
	taken := p.pipe.places
	p.pipe.places = 0
	queued = func() int {
		p.pipe.mu.Lock()
		defer p.pipe.mu.Unlock()
		return len(p.pipe.queue)
	}
	release = func() {
		for range taken {
			go p.pipe.run(p.pipe.next(nil))
		}
	}
	return queued, release
}

// Waiting is how many requests of this process the server has put into a queue, as
// far as the process knows.
func (p *Provider) Waiting() int64 { return p.waits.queued.Load() }

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
