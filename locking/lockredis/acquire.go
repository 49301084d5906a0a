package lockredis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// cancelTime bounds the give-back of a request whose answer did not arrive.
const cancelTime = 2 * time.Second

// busy is the answer that a key is held.
type busy struct {
	err  *driver.BusyError
	left time.Duration // until it lapses; negative: it does not
}

// Acquire implements [driver.Provider]. A request that waits asks again after
// pauses that grow from DefaultRetryInterval to MaximumRetryInterval.
func (p *Provider) Acquire(ctx context.Context, req driver.Request) (driver.Grant, error) {
	if err := p.life.enter(); err != nil {
		return driver.Grant{}, err
	}
	defer p.life.leave()
	deadline := time.Now().Add(req.Wait)
	groups := p.groups(req.Keys)
	pause := p.cfg.DefaultRetryInterval
	for {
		if err := ctx.Err(); err != nil {
			return driver.Grant{}, err
		}
		grant, taken, err := p.take(ctx, &req, groups)
		switch {
		case err != nil:
			return driver.Grant{}, err
		case taken == nil:
			return grant, nil
		case req.Wait < 0:
			return driver.Grant{}, taken.err
		}
		left := time.Until(deadline)
		if left <= 0 {
			return driver.Grant{}, driver.ErrTimeout
		}
		wait := min(time.Duration(float64(pause)*(0.5+rand.Float64()/2)), left) //nolint:gosec // it spreads the attempts
		if taken.left >= 0 {
			wait = min(wait, taken.left+time.Millisecond)
		}
		pause = min(2*pause, p.cfg.MaximumRetryInterval)
		if err := p.sleep(ctx, wait); err != nil {
			return driver.Grant{}, err
		}
	}
}

func (p *Provider) sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.life.closing:
		return driver.ErrClosed
	}
}

// take tries once to take all groups, and gives back those it has when one of them
// cannot be had.
func (p *Provider) take(ctx context.Context, req *driver.Request, groups []group) (driver.Grant, *busy, error) {
	grant := driver.Grant{Holds: make([]driver.Granted, len(req.Keys))}
	request := p.requestPrefix + strconv.FormatUint(p.requests.Add(1), 36)
	for i := range groups {
		taken, err := p.takeGroup(ctx, req, &groups[i], request, grant.Holds)
		if err == nil && taken == nil {
			continue
		}
		if e := p.cancel(ctx, req.Owner, request, groups[:i]); e != nil && err == nil {
			err = e
		}
		return driver.Grant{}, taken, err
	}
	return grant, nil, nil
}

func (p *Provider) takeGroup(ctx context.Context, req *driver.Request, g *group, request string, holds []driver.Granted) (*busy, error) {
	ttl := req.TTL.Milliseconds()
	if req.TTL > 0 && ttl == 0 {
		ttl = 1
	}
	args := []any{req.Owner, req.Generation.Epoch, req.Generation.Attempt, ttl, request}
	sent := time.Now()
	reply, err := acquireScript.Run(ctx, p.client, g.triples(), args...).Slice()
	if lost(err) && ended(ctx) == nil {
		// The request's id makes it safe to ask the same again.
		sent = time.Now()
		reply, err = acquireScript.Run(ctx, p.client, g.triples(), args...).Slice()
	}
	if err != nil {
		if lost(err) {
			err = errors.Join(err, p.cancel(ctx, req.Owner, request, []group{*g}))
		}
		if end := ended(ctx); end != nil {
			return nil, errors.Join(end, err)
		}
		return nil, fmt.Errorf("lockredis: acquire: %w", err)
	}
	return readAcquired(req, g, reply, sent, holds)
}

// ended is ctx.Err, but for the moment between the deadline, which a connection
// heeds as well, and the context's noticing it.
func ended(ctx context.Context) error {
	if at, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(at) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// lost says that the command may have been carried out although no answer came.
func lost(err error) bool {
	var answered redis.Error
	return err != nil && !errors.As(err, &answered)
}

// readAcquired reads the answer of acquire.lua into the holds.
func readAcquired(req *driver.Request, g *group, reply []any, sent time.Time, holds []driver.Granted) (*busy, error) {
	bad := &ReplyError{"acquire.lua", fmt.Sprintf("%.200v", reply), "what its header says"}
	if len(reply) < 2 {
		return nil, bad
	}
	switch kind, _ := reply[0].(int64); {
	case kind == 1 && len(reply) == 1+3*len(g.at):
		for i, at := range g.at {
			text, _ := reply[1+3*i].(string)
			token, err := strconv.ParseUint(text, 10, 64)
			joined, ok1 := reply[2+3*i].(int64)
			left, ok2 := reply[3+3*i].(int64)
			if err != nil || !ok1 || !ok2 {
				return nil, bad
			}
			holds[at] = driver.Granted{
				Hold:   driver.Hold{Key: req.Keys[at], Owner: req.Owner, Generation: req.Generation, Token: driver.Token(token)},
				Joined: joined == 1, Until: until(sent, left),
			}
		}
		return nil, nil //nolint:nilnil // neither busy nor wrong
	case kind == 0 && len(reply) == 4:
		i, ok1 := reply[1].(int64)
		holder, ok2 := reply[2].(string)
		left, ok3 := reply[3].(int64)
		if !ok1 || !ok2 || !ok3 || i < 1 || i > int64(len(g.at)) {
			return nil, bad
		}
		return &busy{
			err:  &driver.BusyError{Key: req.Keys[g.at[i-1]], Holder: holder},
			left: time.Duration(left) * time.Millisecond,
		}, nil
	case kind == -1:
		return nil, driver.ErrRevoked
	}
	return nil, bad
}

// until is the moment before which a key with that many milliseconds left has
// surely not lapsed: counted from before the command was sent, less what clocks
// may drift apart.
func until(sent time.Time, left int64) time.Time {
	if left < 0 {
		return time.Time{}
	}
	d := time.Duration(left) * time.Millisecond
	return sent.Add(d - d/100 - 2*time.Millisecond)
}

// cancel frees what a request took, and nothing else. The caller's context may
// have ended.
func (p *Provider) cancel(ctx context.Context, owner, request string, groups []group) error {
	if len(groups) == 0 {
		return nil
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelTime)
	defer stop()
	for i := range groups {
		for {
			err := cancelScript.Run(ctx, p.client, groups[i].pairs(), owner, request).Err()
			if err == nil {
				break
			}
			if !lost(err) || p.sleep(ctx, p.cfg.DefaultRetryInterval) != nil {
				return fmt.Errorf("lockredis: give back the keys of a request that got no answer (those with an expiry lapse by themselves): %w", err)
			}
		}
	}
	return nil
}
