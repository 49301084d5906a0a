package lockredis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Extend implements [driver.Provider]. On a cluster all nodes are asked side by side, each
// once for all its slots; what one of them does not answer for in time has an error, and
// so has what it refuses.
func (p *Provider) Extend(ctx context.Context, ttl time.Duration, holds []driver.Hold) ([]driver.Extension, error) {
	if err := p.life.enter(); err != nil {
		return nil, err
	}
	defer p.life.leave()
	sent, parting := p.waits.part(holds)
	answers := p.extend(ctx, ttl, sent)
	p.masters.extended(holds, answers)
	var doubtful []ending
	for _, e := range parting {
		if answers[e.at].Err != nil {
			doubtful = append(doubtful, e)
			continue
		}
		p.waits.parted(e, answers[e.at].Held)
	}
	p.waits.doubt(doubtful)
	known := make([]driver.Hold, 0, len(holds))
	for i, h := range holds {
		if answers[i].Err == nil {
			known = append(known, h)
		}
	}
	if len(known) == 0 && len(holds) > 0 {
		return nil, answers[0].Err
	}
	p.waits.hadTurn(known)
	return answers, nil
}

// extend answers for each hold.
func (p *Provider) extend(ctx context.Context, ttl time.Duration, holds []driver.Hold) []driver.Extension {
	answers := make([]driver.Extension, len(holds))
	groups := p.keys.groups(keysOf(holds))
	cluster, ok := p.client.(*redis.ClusterClient)
	if !ok { // all are of one group
		for i := range groups {
			e := &extending{ttl: ttl, groups: groups[i : i+1], holds: holds}
			p.extendAt(ctx, e)
			e.tell(answers)
		}
		return answers
	}
	byNode := map[string]*extending{}
	own := slices.Clone(holds) // a node that nobody listens to any more may be asked still
	for i := range groups {
		node := nodeOf(ctx, cluster, groups[i].hub)
		if byNode[node] == nil {
			byNode[node] = &extending{ttl: ttl, holds: own, several: len(groups) > 1}
		}
		byNode[node].groups = append(byNode[node].groups, groups[i])
	}
	p.extendSideBySide(ctx, byNode, answers)
	return answers
}

// extendSideBySide asks all nodes, and returns when they have answered, or ctx has ended.
func (p *Provider) extendSideBySide(ctx context.Context, byNode map[string]*extending, answers []driver.Extension) {
	for i := range answers {
		answers[i].Err = errNotYet
	}
	told := make(chan *extending, len(byNode))
	for _, e := range byNode {
		if err := p.life.enter(); err != nil {
			e.refuse(err)
			told <- e
			continue
		}
		go func() {
			defer p.life.leave()
			p.extendAt(ctx, e)
			told <- e
		}()
	}
	for range byNode {
		select {
		case e := <-told:
			e.tell(answers)
		case <-ctx.Done():
			select {
			case e := <-told: // it was in time
				e.tell(answers)
			default:
			}
		}
	}
	for i := range answers {
		if answers[i].Err == errNotYet { //nolint:errorlint // it is set as such
			answers[i].Err = fmt.Errorf("lockredis: extend: %w", ended(ctx))
		}
	}
}

// errNotYet stands for the answer of a node that has not answered.
var errNotYet = errors.New("lockredis: no answer yet")

// extending is what one node is asked for, and what it has told.
type extending struct {
	ttl     time.Duration
	groups  []group
	holds   []driver.Hold
	several bool               // there are other groups
	told    []driver.Extension // of the groups' members, in their order
}

// extendAt asks one node. What it refuses as a whole, for the sake of one hold perhaps, is
// asked for one by one, unless that is all there is: the caller sees to it then.
func (p *Provider) extendAt(ctx context.Context, e *extending) {
	sent := time.Now()
	for i, cmd := range p.sendAll(ctx, extendScript, e.calls(e.groups)) {
		g := &e.groups[i]
		err := cmd.Err()
		if err == nil || !e.several || len(g.at) == 1 || lost(err) || passing(err) {
			p.readExtensions(e, g, cmd, sent)
			continue
		}
		alone := make([]group, len(g.at))
		for n := range alone {
			alone[n] = group{hub: g.hub, at: g.at[n : n+1], places: g.places[n : n+1]}
		}
		for n, cmd := range p.sendAll(ctx, extendScript, e.calls(alone)) {
			p.readExtensions(e, &alone[n], cmd, sent)
		}
	}
}

// calls are those of extend.lua for groups.
func (e *extending) calls(groups []group) [][]any {
	calls := make([][]any, len(groups))
	for i := range groups {
		g := &groups[i]
		args := append(g.command(extendScript, 1+2*len(g.at)), millis(e.ttl))
		for _, at := range g.at {
			args = append(args, e.holds[at].Owner, tokenText(e.holds[at].Token))
		}
		calls[i] = args
	}
	return calls
}

// readExtensions notes what extend.lua has answered for a group.
func (p *Provider) readExtensions(e *extending, g *group, cmd *redis.Cmd, sent time.Time) {
	reply, err := cmd.Result()
	list, ok := reply.([]any)
	if err == nil && (!ok || len(list) != len(g.at)) {
		err = badReply(extendScript.name, reply)
	}
	if err != nil {
		e.unknown(len(g.at), err)
		return
	}
	held := 0
	for _, one := range list {
		left, ok := one.(int64)
		switch text, failed := one.(string); {
		case failed:
			e.unknown(1, scriptError(text))
		case !ok:
			e.unknown(1, badReply(extendScript.name, reply))
		case left == -2:
			e.told = append(e.told, driver.Extension{})
		case left == -3:
			e.told = append(e.told, driver.Extension{Revoked: true})
		default:
			e.told = append(e.told, driver.Extension{Held: true, Until: until(sent, left)})
			held++
		}
	}
	if e.ttl > 0 && held > 0 {
		p.owe(g.hub, held, e.ttl) // it may lapse later than it was to
	}
}

// unknown notes that nothing is known of so many holds.
func (e *extending) unknown(count int, err error) {
	err = fmt.Errorf("lockredis: extend: %w", err)
	for range count {
		e.told = append(e.told, driver.Extension{Err: err})
	}
}

// refuse notes that nothing is known of any.
func (e *extending) refuse(err error) {
	for i := range e.groups {
		e.unknown(len(e.groups[i].at), err)
	}
}

// tell puts what the node has told into the answers.
func (e *extending) tell(answers []driver.Extension) {
	n := 0
	for i := range e.groups {
		for _, at := range e.groups[i].at {
			answers[at] = e.told[n]
			n++
		}
	}
}
