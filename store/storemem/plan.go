package storemem

import (
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// plan has the executions of a plan that may be claimed, now or from some time on. Those
// that hold locks have a line of their own, which goes first.
type plan struct{ holding, others queue }

// lines are its lines in their order.
func (p *plan) lines() [2]*queue { return [2]*queue{&p.holding, &p.others} }

// plan returns what the store has of a plan.
func (s *Store) plan(id store.PlanID) *plan {
	if s.latestPlan == id && s.latestLines != nil {
		return s.latestLines
	}
	p, ok := s.plans[id]
	if !ok {
		p = &plan{holding: queue{place: inLine}, others: queue{place: inLine}}
		s.plans[id] = p
	}
	s.latestPlan, s.latestLines = id, p
	return p
}

// waitsSince tells the time that the execution is in a line with.
func (e *entry) waitsSince() (time.Time, bool) {
	if e.line == nil {
		return time.Time{}, false
	}
	return e.line.has(e)
}

// lineUp puts the execution into the line in which it belongs. It answers true when the
// first of a line is not what it was.
func (e *entry) lineUp(at time.Time) (stirred bool) {
	line := &e.plan.others
	if e.head.Holding {
		line = &e.plan.holding
	}
	if e.line != line {
		stirred = e.leaveLine()
		e.line = line
	}
	return line.set(e, at) || stirred
}

// leaveLine takes the execution out of its line. It answers true when it was the first.
func (e *entry) leaveLine() bool {
	if e.line == nil {
		return false
	}
	line := e.line
	e.line = nil
	return line.remove(e)
}
