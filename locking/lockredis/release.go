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
	if len(holds) == 1 && p.waits.handOn(&holds[0]) {
		return []bool{true}, nil
	}
	sent, ending := p.waits.part(holds)
	answers := make([]bool, len(holds))
	groups := p.keys.groups(keysOf(holds))
	var err error
	for i := range groups {
		var unsure bool
		unsure, err = p.untilSure(ctx, sureAtLast, func() (bool, error) {
			return p.releaseGroup(ctx, &groups[i], sent, answers)
		})
		if err == nil && unsure {
			err = &UnsureError{holds[groups[i].at[0]].Key}
		}
		if err != nil {
			err = fmt.Errorf("lockredis: release: %w", err)
			break
		}
	}
	for _, e := range ending {
		p.waits.parted(e, answers[e.at])
	}
	if err != nil {
		return nil, err
	}
	p.waits.hadTurn(holds)
	return answers, nil
}

// releaseGroup frees holds of one group. What another may hold by now, whose token is not
// said, is left to be asked for again: the group is then without the others.
func (p *Provider) releaseGroup(ctx context.Context, g *group, holds []driver.Hold, answers []bool) (unsure bool, err error) {
	args := make([]string, 0, 2*len(g.at))
	for _, at := range g.at {
		args = append(args, holds[at].Owner, tokenText(holds[at].Token))
	}
	sh := &share{script: releaseScript, hub: g.hub, names: g.names(), args: args, count: len(g.at)}
	by := shared
	if p.waits.queued.Load() > 0 {
		by = direct
		sh.successors, sh.company = p.waits.mayName(g)
	}
	unanswered, err := p.askAgain(ctx, by, sh)
	if err != nil {
		return false, err
	}
	freed := 0
	var again group
	for i, at := range g.at {
		switch sh.answers[i] {
		case int64(1):
			answers[at] = true
			freed++
		case int64(0):
			answers[at] = unanswered
		case int64(2):
			again.at, again.places = append(again.at, at), append(again.places, g.places[i])
		default:
			return false, badReply(releaseScript.name, sh.answers)
		}
	}
	g.hub.pay(freed)
	if sh.more {
		p.lookAgain(g)
	}
	if len(again.at) > 0 {
		again.hub = g.hub
		*g = again
	}
	return len(again.at) > 0, nil
}

// askAgain has a share answered whose repetition does no harm, however often it
// takes. It says whether it may have been carried out before without an answer.
func (p *Provider) askAgain(ctx context.Context, by lane, sh *share) (unanswered bool, err error) {
	err = p.again(ctx, func() error {
		err := p.ask(ctx, by, sh)
		by = direct
		if _, unsent := errors.AsType[*notSentError](err); lost(err) && !unsent {
			unanswered = true
			p.resync() // what it granted to this process was in the answer
		}
		return err
	})
	return unanswered, err
}

// Extend implements [driver.Provider].
func (p *Provider) Extend(ctx context.Context, ttl time.Duration, holds []driver.Hold) ([]driver.Extension, error) {
	if err := p.life.enter(); err != nil {
		return nil, err
	}
	defer p.life.leave()
	sent, ending := p.waits.part(holds)
	answers := make([]driver.Extension, len(holds))
	groups := p.keys.groups(keysOf(holds))
	for i := range groups {
		if err := p.extendGroup(ctx, ttl, &groups[i], sent, answers); err != nil {
			return nil, fmt.Errorf("lockredis: extend: %w", err)
		}
	}
	for _, e := range ending {
		p.waits.parted(e, answers[e.at].Held)
	}
	p.waits.hadTurn(holds)
	return answers, nil
}

func (p *Provider) extendGroup(ctx context.Context, ttl time.Duration, g *group, holds []driver.Hold, answers []driver.Extension) error {
	args := append(g.command(extendScript, 1+2*len(g.at)), millis(ttl))
	for _, at := range g.at {
		args = append(args, holds[at].Owner, tokenText(holds[at].Token))
	}
	sent := time.Now()
	reply, err := p.send(ctx, extendScript, args)
	if err != nil {
		return err
	}
	left, err := numbers(extendScript.name, reply, len(g.at))
	if err != nil {
		return err
	}
	held := 0
	for i, at := range g.at {
		switch left[i] {
		case -2:
		case -3:
			answers[at] = driver.Extension{Revoked: true}
		default:
			answers[at] = driver.Extension{Held: true, Until: until(sent, left[i])}
			held++
		}
	}
	if ttl > 0 && held > 0 {
		p.owe(g.hub, held, ttl) // it may lapse later than it was to
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
