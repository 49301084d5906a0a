package lockredis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Audit implements [driver.Inspector]. A server keeps the newest 1,000 records, for
// as long as it keeps anything; they lie outside the namespace. A cluster keeps as
// many for each hash slot, beside the locks that they tell of, and Audit asks all
// slots.
func (p *Provider) Audit(ctx context.Context, limit int) ([]driver.AuditRecord, error) {
	if err := p.life.enter(); err != nil {
		return nil, err
	}
	defer p.life.leave()
	if limit <= 0 {
		return nil, nil
	}
	var all []driver.AuditRecord
	for some := range slices.Chunk(p.keys.all(), hubsAtOnce) {
		line := p.client.Pipeline()
		lists := make([]*redis.StringSliceCmd, len(some))
		for i, h := range some {
			lists[i] = line.LRange(ctx, h.base+"a", 0, int64(limit)-1)
		}
		if _, err := line.Exec(ctx); err != nil {
			return nil, fmt.Errorf("lockredis: audit: %w", err)
		}
		for _, l := range lists {
			for _, entry := range l.Val() {
				a, err := p.readAudit(entry)
				if err != nil {
					return nil, err
				}
				all = append(all, a)
			}
		}
	}
	// The records of one server are in order already.
	slices.SortStableFunc(all, func(a, b driver.AuditRecord) int { return b.At.Compare(a.At) })
	return all[:min(limit, len(all))], nil
}

// readAudit reads a record as force.lua writes it.
func (p *Provider) readAudit(entry string) (driver.AuditRecord, error) {
	r := reader{message: entry}
	r.text() // the call's id
	var a driver.AuditRecord
	a.Key, a.Owner = p.keys.key(r.text()), r.text()
	a.Token, a.Reason, a.Now = driver.Token(r.number()), r.text(), r.number() == 1
	a.At = time.UnixMicro(r.number())
	if !r.whole() {
		return a, &ReplyError{forceScript.name, "a record of it " + strconv.Quote(entry[:min(len(entry), 200)]), "what its header says"}
	}
	return a, nil
}
