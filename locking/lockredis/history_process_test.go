package lockredis_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/lockhistory"
	"github.com/lockstep-dev/lockstep/internal/redistest"
)

// orders are what a child of the histories is told to do.
type orders struct {
	Process int
	Apart   time.Duration // from how far apart on its clocks were set
	lockhistory.Workload
}

// history is a child that works, and says each operation before it begins and when it
// has returned.
func (c child) history() {
	var o orders
	c.must(json.Unmarshal([]byte(c.hear()), &o))
	r := lockhistory.NewRecorder(o.Process)
	var mu sync.Mutex
	r.Say = func(op lockhistory.Op) {
		text, err := json.Marshal(op)
		c.must(err)
		mu.Lock()
		defer mu.Unlock()
		c.say("op", string(text))
	}
	ctx, enough := context.WithCancel(bg)
	go func() {
		c.hear()
		enough()
	}()
	o.Run(ctx, c.provider(), r)
	for _, t := range r.History().Troubles {
		text, err := json.Marshal(t)
		c.must(err)
		c.say("trouble", string(text))
	}
	if d := r.Clock.Jumped(); d.Abs() > o.Apart {
		c.say("jumped", d)
	}
	c.say("done")
	c.rest()
}

// crew are children that work, each followed by another one when it was killed.
type crew struct {
	t      *testing.T
	server *redistest.Server
	order  orders

	mu   sync.Mutex
	live []*member
	all  []*member
	ops  atomic.Int64 // that have returned
}

type member struct {
	*process
	number int

	// What it said: of one goroutine until heard is closed, when that was all.
	said     []lockhistory.Op
	troubles []lockhistory.Trouble
	faults   []string
	clock    error // its clock was set
	last     bool  // the last thing it said is the last fault
	heard    chan struct{}
	killed   bool
}

// hire starts a child.
func (c *crew) hire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := &member{process: startProcess(c.t, c.server, "history"), number: len(c.all) + 1, heard: make(chan struct{})}
	o := c.order
	o.Process = m.number
	o.Seed += uint64(m.number)
	text, err := json.Marshal(o)
	if err != nil {
		c.t.Error(err)
	}
	m.tell(string(text))
	go func() {
		defer close(m.heard)
		for s := range m.process.said {
			if !m.understand(s.what, &c.ops) {
				return
			}
		}
	}()
	c.live, c.all = append(c.live, m), append(c.all, m)
}

// understand notes what a child says, and answers whether there will be more.
func (m *member) understand(what string, ops *atomic.Int64) bool {
	word, rest, _ := strings.Cut(what, " ")
	var err error
	m.last = false
	switch word {
	case "op":
		var op lockhistory.Op
		if err = json.Unmarshal([]byte(rest), &op); err == nil {
			m.said = append(m.said, op)
			if op.Return != lockhistory.Never {
				ops.Add(1)
			}
		}
	case "trouble":
		var t lockhistory.Trouble
		if err = json.Unmarshal([]byte(rest), &t); err == nil {
			m.troubles = append(m.troubles, t)
		}
	case "jumped":
		set := &clockSetError{}
		set.by, err = time.ParseDuration(rest)
		m.clock = set
	case "done":
		return false
	default:
		err = errors.New("not understood")
	}
	if err != nil {
		m.faults, m.last = append(m.faults, fmt.Sprintf("%v: %s", err, what)), true
	}
	return true
}

// work waits until the children have made so many operations, and tells them to end.
func (c *crew) work(ctx context.Context, ops int64) {
	for c.ops.Load() < ops && ctx.Err() == nil {
		<-time.After(10 * time.Millisecond)
	}
}

// history ends the work, and is what the children have said. Of one that was killed the
// last line may be cut off.
func (c *crew) history() (lockhistory.History, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.live {
		m.tell("enough")
	}
	var all []lockhistory.History
	var err error
	for _, m := range c.all {
		<-m.heard
		err = cmp.Or(err, m.clock)
		if m.killed && m.last {
			m.faults = m.faults[:len(m.faults)-1]
		}
		for _, fault := range m.faults {
			c.t.Errorf("the child %d: %s", m.number, fault)
		}
		h := lockhistory.Heard(m.said)
		h.Troubles = m.troubles
		all = append(all, h)
	}
	return lockhistory.Together(all...), err
}

// atProcesses are the troubles of children.
func (x *trouble) atProcesses(c *crew) {
	some := func() *member {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.live[x.rand.IntN(len(c.live))]
	}
	stop := func(d time.Duration) bool {
		m := some()
		over := x.noted.Trouble(m.number, "a process was stopped")
		defer over()
		m.stop()
		<-time.After(d)
		m.goOn()
		return true
	}
	kill := func() bool {
		m := some()
		m.kill()
		c.mu.Lock()
		m.killed = true
		c.live = slices.DeleteFunc(c.live, func(l *member) bool { return l == m })
		c.mu.Unlock()
		c.hire()
		return true
	}
	briefly := func() bool { return stop(time.Duration(50+x.rand.IntN(400)) * time.Millisecond) }
	x.may("process stopped", briefly)
	x.may("process killed", kill)
	x.may("process stopped beyond its leases", func() bool { return stop(2200 * time.Millisecond) })
	for range 2 { // what takes long is not to happen most
		x.may("process stopped", briefly)
		x.may("process killed", kill)
	}
}
