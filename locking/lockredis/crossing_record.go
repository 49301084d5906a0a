package lockredis

import (
	"strconv"
	"strings"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// waiting is a wait as processes tell each other of it.
type waiting struct {
	id      string // of the request
	process string
	owner   string
	born    uint64
	// compensates says that it is a compensation, which is not given up for others.
	compensates bool
	since       int64 // ms of the process's clock
	group       group // its keys, in one slot
	keys        []string
}

// waitingOf requires waits.mu.
func (p *Provider) waitingOf(w *wait) waiting {
	a := w.ask
	own := waiting{
		id: a.id, process: p.self, owner: a.req.Owner, born: a.req.Born,
		compensates: a.req.Rank == driver.Compensation, since: w.came.UnixMilli(), group: *a.group,
	}
	for _, at := range a.group.at {
		own.keys = append(own.keys, a.req.Keys[at])
	}
	return own
}

// record is the wait as it is published: fields as [reader] takes them apart.
func (w *waiting) record() string {
	compensates := "0"
	if w.compensates {
		compensates = "1"
	}
	return fieldText(append([]string{
		w.process, w.owner, compensates, strconv.FormatUint(w.born, 10), strconv.FormatInt(w.since, 10),
	}, w.keys...)...)
}

// readWaiting reads a record. Another version's may be of another kind: it is then left
// aside.
func (p *Provider) readWaiting(id, record string) (w *waiting, ok bool) {
	r := reader{message: record}
	w = &waiting{id: id, process: r.text(), owner: r.text(), compensates: r.number() == 1}
	born, err := strconv.ParseUint(r.text(), 10, 64)
	w.born, w.since = born, r.number()
	for r.more() {
		w.keys = append(w.keys, r.text())
	}
	groups := p.keys.groups(w.keys)
	if r.bad || err != nil || len(groups) != 1 {
		return nil, false
	}
	w.group = groups[0]
	return w, true
}

// younger says which of two members of a circle is rather given up. It is queue.lua's
// order, but for the tickets, which count within a slot: clocks stand in for them.
func younger(a, b *waiting) bool {
	switch {
	case a.compensates != b.compensates:
		return b.compensates
	case (a.born == 0) != (b.born == 0):
		return a.born == 0
	case a.born != b.born:
		return a.born > b.born
	case a.since != b.since:
		return a.since > b.since
	}
	return a.id > b.id
}

// fieldText is a message as [reader] takes it apart.
func fieldText(values ...string) string {
	var b strings.Builder
	for _, v := range values {
		b.WriteString(strconv.Itoa(len(v)) + ":" + v)
	}
	return b.String()
}
