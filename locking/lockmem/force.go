package lockmem

import (
	"context"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// ForceRelease implements [driver.Inspector]. The holder is told by an event.
func (p *Provider) ForceRelease(ctx context.Context, req driver.ForceRequest) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	now, err := p.enter()
	if err != nil {
		return false, err
	}
	defer p.leave(now)
	hold := driver.Hold{Key: req.Key, Owner: req.Owner, Token: req.Token}
	l := p.table.holds(hold, false)
	if l == nil {
		return false, nil
	}
	hold.Generation = l.generation
	p.audit.add(driver.AuditRecord{ForceRequest: req, At: now})
	p.news.add(driver.Event{Revoked: hold, Reason: req.Reason})
	if req.Now {
		p.free(l, driver.ErrRevoked)
	} else {
		p.revoke(l, req.Reason)
	}
	return true, nil
}

// revoke marks a hold: its holder can do nothing with it any more but give it back.
func (p *Provider) revoke(l *lock, reason string) {
	s := l.specials()
	s.revoked, s.reason = true, reason
	p.changes.gave(l)
	var offers []*waiter
	for _, w := range s.tickets {
		if w.state == offered {
			offers = append(offers, w)
		}
	}
	p.loseHold(offers, driver.ErrRevoked)
}

// Audit implements [driver.Inspector]. The newest 1,000 records are kept.
func (p *Provider) Audit(ctx context.Context, limit int) ([]driver.AuditRecord, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now, err := p.enter()
	if err != nil {
		return nil, err
	}
	defer p.leave(now)
	return p.audit.newest(limit), nil
}

// auditSize is how many records are kept.
const auditSize = 1000

// audit is a ring of the newest records.
type audit struct {
	records []driver.AuditRecord
	next    int // where the next one goes, when the ring is full
}

func (a *audit) add(r driver.AuditRecord) {
	if len(a.records) < auditSize {
		a.records = append(a.records, r)
		return
	}
	a.records[a.next] = r
	a.next = (a.next + 1) % auditSize
}

// newest returns records, the last one first.
func (a *audit) newest(limit int) []driver.AuditRecord {
	n := min(max(limit, 0), len(a.records))
	list := make([]driver.AuditRecord, 0, n)
	for i := range n {
		list = append(list, a.records[(a.next-1-i+2*len(a.records))%len(a.records)])
	}
	return list
}
