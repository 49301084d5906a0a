package simulation

import "time"

// profile says how much goes wrong in a history, and how much there is to do.
type profile struct {
	executions int
	nodes      int // of the cluster
	spread     time.Duration
	trouble    time.Duration // how long things go wrong
	bound      time.Duration // how long everything may take after that

	delay                          time.Duration // of a request, and of a reply, at most
	lostRequest, lostReply, double float64
	crashBefore, crashAfter        float64 // at each call
	crashBody                      float64 // within a body
	poison                         float64 // a step that kills its process each time
	cuts                           int     // how often an instance is cut off
	longestCut                     time.Duration
	starve                         float64 // heartbeats that get no answer
	storeJumps                     int     // of the store's clock
	stops                          int     // clean ones
	robberies                      int     // locks that their server forgets, or that are taken by force
	freeze                         float64 // before a write: its instance stands still, and does not know of it
	deaf                           float64 // notices of the store that are lost

	rest time.Duration // after which an execution rests at which nothing happens

	undecided float64
	fails     float64 // bodies
	cancels   float64
	resumes   int
}

func newProfile(f fate) profile {
	f = f.of("profile")
	p := profile{
		executions: 2 + f.below("executions", 4), nodes: 1 + f.below("nodes", 3), spread: 6 * time.Second,
		trouble: f.between("trouble", 10*time.Second, 30*time.Second), bound: 10 * time.Minute,
		delay: 20 * time.Millisecond, fails: 0.12, cancels: 0.2, undecided: 0.01, resumes: 4, double: 0.01,
	}
	p.rest = []time.Duration{0, 100 * time.Millisecond, time.Second}[f.below("rest", 3)]
	if f.is("slow", 0.2) {
		p.delay = 300 * time.Millisecond
	}
	if f.is("lossy", 0.5) {
		p.lostRequest, p.lostReply, p.double, p.deaf = 0.02, 0.03, 0.05, 0.1
	}
	if f.is("crashing", 0.5) {
		p.crashBefore, p.crashAfter, p.crashBody, p.poison = 0.004, 0.006, 0.02, 0.02
	}
	if f.is("cut off", 0.35) {
		p.cuts, p.longestCut = 2, 15*time.Second
	}
	if f.is("starved", 0.15) {
		p.starve = 0.6
	}
	if f.is("jumping", 0.15) {
		p.storeJumps = 2
	}
	if f.is("stopping", 0.2) {
		p.stops = 1
	}
	if f.is("robbed", 0.3) {
		p.robberies = 4
	}
	if f.is("freezing", 0.2) {
		p.freeze = 0.08
	}
	if f.is("failing", 0.25) {
		p.fails = 0.35
	}
	return p
}

// What engines are configured with.
const (
	lease       = 2 * time.Second
	lockLease   = 8 * time.Second
	cancelGrace = 600 * time.Millisecond
)
