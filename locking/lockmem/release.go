package lockmem

import (
	"context"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Extend implements [driver.Provider].
func (p *Provider) Extend(_ context.Context, ttl time.Duration, holds []driver.Hold) ([]driver.Extension, error) {
	now, err := p.enter()
	if err != nil {
		return nil, err
	}
	defer p.leave(now)
	answers := make([]driver.Extension, len(holds))
	for i, h := range holds {
		e := p.table.find(h, false)
		if e == nil {
			continue
		}
		p.table.extend(e, now.Add(ttl), false)
		answers[i] = driver.Extension{Held: true, Until: e.until}
	}
	return answers, nil
}

// Release implements [driver.Provider].
func (p *Provider) Release(_ context.Context, holds []driver.Hold) ([]bool, error) {
	now, err := p.enter()
	if err != nil {
		return nil, err
	}
	defer p.leave(now)
	freed := make([]bool, len(holds))
	for i, h := range holds {
		if e := p.table.find(h, true); e != nil {
			p.free(e)
			freed[i] = true
		}
	}
	return freed, nil
}

// ReleaseAll implements [driver.Provider]. It looks at every lock there is.
func (p *Provider) ReleaseAll(_ context.Context, owner string) (int, error) {
	now, err := p.enter()
	if err != nil {
		return 0, err
	}
	defer p.leave(now)
	n := 0
	for _, e := range p.table.entries {
		if e.owner == owner {
			p.free(e)
			n++
		}
	}
	return n, nil
}
