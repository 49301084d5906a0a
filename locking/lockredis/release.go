package lockredis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Release implements [driver.Provider]. When an answer is lost the call is sent
// again; what is not there any more by then counts as freed.
func (p *Provider) Release(ctx context.Context, holds []driver.Hold) ([]bool, error) {
	if err := p.life.enter(); err != nil {
		return nil, err
	}
	defer p.life.leave()
	p.masters.released(holds)
	if len(holds) == 1 && p.waits.handOn(&holds[0]) {
		return []bool{true}, nil
	}
	sent, ending := p.waits.part(holds)
	answers := make([]released, len(holds))
	err := p.releaseGroups(ctx, p.keys.groups(keysOf(holds)), sent, answers)
	var again []int // by name: what this process had is gone, but somebody else may have it
	for _, e := range ending {
		p.waits.parted(e, answers[e.at] == releasedNow)
		if err == nil && holds[e.at].Token == 0 && answers[e.at] == releasedNot {
			again = append(again, e.at)
		}
	}
	if err != nil {
		return nil, err
	}
	freed := make([]bool, len(holds))
	for i, a := range answers {
		freed[i] = a != releasedNot
	}
	for _, at := range again {
		more, err := p.Release(ctx, holds[at:at+1])
		if err != nil {
			return nil, err
		}
		freed[at] = more[0]
	}
	p.waits.hadTurn(holds)
	return freed, nil
}

// released says what became of a hold.
type released uint8

const (
	releasedNot released = iota
	releasedNow
	// releasedBefore is a guess: the call was sent before without an answer.
	releasedBefore
)

// naming is a release by the owner's name of a lock that one of several may hold by now.
type naming struct {
	group

	upto []string // the last of their tokens
}

// releaseGroups frees the holds of all groups, whatever becomes of some of them. The nodes of
// a cluster are spoken to side by side: one that does not answer must not keep what is at
// the others, nor use up the time for it.
func (p *Provider) releaseGroups(ctx context.Context, groups []group, holds []driver.Hold, answers []released) error {
	free := func(part []group) (errs error) {
		for i := range part {
			if err := p.releaseUntilSure(ctx, &part[i], holds, answers); err != nil {
				errs = errors.Join(errs, fmt.Errorf("lockredis: release: %w", err))
			}
		}
		return errs
	}
	cluster, ok := p.client.(*redis.ClusterClient)
	if !ok || len(groups) < 2 {
		return free(groups)
	}
	parts := slices.Collect(maps.Values(byNode(ctx, cluster, groups, func(g group) *hub { return g.hub })))
	errs := make([]error, len(parts))
	var all sync.WaitGroup
	for i := 1; i < len(parts); i++ {
		all.Go(func() { errs[i] = free(parts[i]) })
	}
	errs[0] = free(parts[0])
	all.Wait()
	return errors.Join(errs...)
}

// releaseUntilSure frees holds of one group. What another may hold by now, whose token is
// not said, is asked for again.
func (p *Provider) releaseUntilSure(ctx context.Context, g *group, holds []driver.Hold, answers []released) error {
	n := naming{group: *g}
	unsure, err := p.untilSure(ctx, sureAtLast, func() (bool, error) {
		err := p.releaseGroup(ctx, &n, holds, answers)
		return len(n.at) > 0, err
	})
	if err == nil && unsure {
		err = &UnsureError{holds[n.at[0]].Key}
	}
	return err
}

// releaseGroup sends the release once, and leaves in the group what is to be asked for
// again.
func (p *Provider) releaseGroup(ctx context.Context, n *naming, holds []driver.Hold, answers []released) error {
	sh := newShare(releaseScript, &n.group, len(n.at))
	args := make([]string, 0, 2*len(n.at))
	for i, at := range n.at {
		token := tokenText(holds[at].Token)
		if n.upto != nil {
			token = "-" + n.upto[i]
		}
		args = append(args, holds[at].Owner, token)
	}
	for i := range args {
		sh.args = append(sh.args, &args[i])
	}
	by := shared
	if p.waits.queued.Load() > 0 {
		by = direct
		sh.successors, sh.company = p.waits.mayName(&n.group)
	}
	unanswered, err := p.askAgain(ctx, by, sh)
	if err != nil {
		return err
	}
	freed := 0
	again := naming{group: group{hub: n.hub}}
	for i, at := range n.at {
		switch answer := sh.answers[i].(type) {
		case string:
			again.at, again.places = append(again.at, at), append(again.places, n.places[i])
			again.upto = append(again.upto, answer)
		case int64:
			switch {
			case answer == 1:
				answers[at] = releasedNow
				freed++
			case unanswered:
				answers[at] = releasedBefore
			}
		default:
			return badReply(releaseScript.name, sh.answers)
		}
	}
	n.hub.pay(freed)
	if sh.more {
		p.lookAgain(&group{hub: n.hub, places: n.places})
	}
	sh.done()
	*n = again
	return nil
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
