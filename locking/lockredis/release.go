package lockredis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Release implements [driver.Provider]. When an answer is lost the call is sent
// again; what is not there any more by then counts as freed.
func (p *Provider) Release(ctx context.Context, holds []driver.Hold) ([]bool, error) {
	if err := p.life.enter(); err != nil {
		return nil, err
	}
	defer p.life.leave()
	answers := make([]bool, len(holds))
	groups := p.keys.groups(keysOf(holds))
	for i := range groups {
		if err := p.releaseGroup(ctx, &groups[i], holds, answers); err != nil {
			return nil, fmt.Errorf("lockredis: release: %w", err)
		}
	}
	return answers, nil
}

func (p *Provider) releaseGroup(ctx context.Context, g *group, holds []driver.Hold, answers []bool) error {
	args := g.command(releaseScript, 2*len(g.at))
	for _, at := range g.at {
		args = append(args, holds[at].Owner, tokenText(holds[at].Token))
	}
	by := shared
	if p.waits.queued.Load() > 0 {
		by = direct
	}
	reply, unanswered, err := p.sendAgain(ctx, by, releaseScript, args)
	if err != nil {
		return err
	}
	freed, err := numbers(releaseScript.name, reply, len(g.at)+1)
	if err != nil {
		return err
	}
	for i, at := range g.at {
		answers[at] = freed[i] == 1 || unanswered
	}
	if freed[len(g.at)] == 1 {
		p.lookAgain(g)
	}
	return nil
}

// sendTries is how often a call is sent whose answer does not come.
const sendTries = 4

// sendAgain sends a call whose repetition does no harm until it is answered. It
// says whether one of the calls may have been carried out without an answer.
func (p *Provider) sendAgain(ctx context.Context, by lane, s *script, args []any) (reply any, unanswered bool, err error) {
	for sent := 1; ; sent++ {
		reply, err = p.send(ctx, by, s, args)
		if err == nil {
			return reply, unanswered, nil
		}
		if end := ended(ctx); end != nil {
			return nil, unanswered, errors.Join(end, err)
		}
		if sent == sendTries || (!lost(err) && !passing(err)) {
			return nil, unanswered, err
		}
		unanswered = unanswered || lost(err)
		by = direct
		if e := p.pause(ctx, sent, time.Time{}); e != nil {
			return nil, unanswered, errors.Join(e, err)
		}
	}
}

// Extend implements [driver.Provider].
func (p *Provider) Extend(ctx context.Context, ttl time.Duration, holds []driver.Hold) ([]driver.Extension, error) {
	if err := p.life.enter(); err != nil {
		return nil, err
	}
	defer p.life.leave()
	answers := make([]driver.Extension, len(holds))
	groups := p.keys.groups(keysOf(holds))
	for i := range groups {
		if err := p.extendGroup(ctx, ttl, &groups[i], holds, answers); err != nil {
			return nil, fmt.Errorf("lockredis: extend: %w", err)
		}
	}
	return answers, nil
}

func (p *Provider) extendGroup(ctx context.Context, ttl time.Duration, g *group, holds []driver.Hold, answers []driver.Extension) error {
	args := append(g.command(extendScript, 1+2*len(g.at)), millis(ttl))
	for _, at := range g.at {
		args = append(args, holds[at].Owner, tokenText(holds[at].Token))
	}
	sent := time.Now()
	reply, err := p.send(ctx, shared, extendScript, args)
	if err != nil {
		return err
	}
	left, err := numbers(extendScript.name, reply, len(g.at))
	if err != nil {
		return err
	}
	for i, at := range g.at {
		switch left[i] {
		case -2:
		case -3:
			answers[at] = driver.Extension{Revoked: true}
		default:
			answers[at] = driver.Extension{Held: true, Until: until(sent, left[i])}
		}
	}
	return nil
}

// numbers reads a reply of as many integers as are wanted.
func numbers(script string, reply any, want int) ([]int64, error) {
	list, ok := reply.([]any)
	r := reader{list: list}
	all := make([]int64, want)
	for i := range all {
		all[i] = r.number()
	}
	if !ok || r.bad || len(r.list) > 0 {
		return nil, &ReplyError{script, fmt.Sprintf("%.200v", reply), strconv.Itoa(want) + " numbers"}
	}
	return all, nil
}

func tokenText(t driver.Token) string { return strconv.FormatUint(uint64(t), 10) }
