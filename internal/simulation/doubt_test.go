package simulation

import (
	"strings"
	"testing"
	"time"
)

// peaceful changes a history so that nothing goes wrong in it but what a test wants: its
// one workflow has two steps.
func peaceful(w *world, nodes int) {
	w.p = profile{executions: 1, nodes: nodes, spread: time.Second, delay: time.Millisecond, bound: time.Minute}
	fl := &flow{name: "w0", steps: map[string]*spec{}, keys: []string{"k0"}}
	a := &author{f: w.f, flow: fl}
	fl.root = a.sequence(nil)
	for range 2 {
		a.add(fl.root, doVerb).step = &step{undo: true, tries: 3, undoTries: 3, factor: 1}
	}
	w.flows, w.tops, w.nodes = []*flow{fl}, []*flow{fl}, nil
	for i := range nodes {
		w.nodes = append(w.nodes, w.newNode("n"+itoa(i)))
	}
}

// The instance lives, so nobody else takes what it may have.
func TestI8WhatNoAnswerCameForIsGoneOnWithByTheInstanceThatMayHaveIt(t *testing.T) {
	for what, most := range map[string]int{
		"create w0/e0":  8, // as often as it is sent
		"write w0/e0 1": 8,
		"claim ":        4,
	} {
		t.Run(what, func(t *testing.T) {
			lost := 0
			w := simulate(t, 1, func(w *world) {
				peaceful(w, 1)
				w.unanswered = func(r request) bool {
					w.mu.Lock()
					defer w.mu.Unlock()
					if lost == most || !strings.HasPrefix(r.what, what) || (what == "claim " && w.deaths == 0) {
						return false
					}
					lost++
					return true
				}
				w.changeNature = func(d *deed, b *nature) {
					if b.ending = succeeds; what == "claim " && w.deaths == 0 {
						b.ending = kills
					}
				}
			})
			if report(t, w); lost != most {
				t.Errorf("%d answers were lost, want %d: %s", lost, most, w.story())
			}
		})
	}
}
