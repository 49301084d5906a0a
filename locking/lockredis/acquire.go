package lockredis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// cancelTime bounds the give-back of a request that the caller does not wait for.
const cancelTime = 2 * time.Second

// Acquire implements [driver.Provider]. On a cluster the keys are taken slot by
// slot, each time all those of a slot; what is taken is given back when a later
// slot's keys cannot be had.
func (p *Provider) Acquire(ctx context.Context, req driver.Request) (driver.Grant, error) {
	if err := p.life.enter(); err != nil {
		return driver.Grant{}, err
	}
	defer p.life.leave()
	if err := ctx.Err(); err != nil {
		return driver.Grant{}, err
	}
	var deadline time.Time
	if req.Wait > 0 {
		deadline = time.Now().Add(req.Wait)
	}
	groups := p.keys.groups(req.Keys)
	id := p.requestID()
	if len(groups) == 1 {
		holds, err := p.take(ctx, &ask{req: &req, group: &groups[0], id: id}, deadline)
		if err != nil {
			return driver.Grant{}, err
		}
		return driver.Grant{Holds: holds}, nil
	}
	grant := driver.Grant{Holds: make([]driver.Granted, len(req.Keys))}
	for i := range groups {
		holds, err := p.take(ctx, &ask{req: &req, group: &groups[i], id: id}, deadline)
		if err != nil {
			return driver.Grant{}, errors.Join(err, p.cancel(ctx, req.Owner, id, groups[:i]))
		}
		for n, at := range groups[i].at {
			grant.Holds[at] = holds[n]
		}
	}
	return grant, nil
}

// requestID tells this process's requests from each other, and from all others.
func (p *Provider) requestID() string {
	return p.self + "." + strconv.FormatUint(p.requests.Add(1), 36)
}

// take takes the keys of one group. A zero deadline is no waiting.
func (p *Provider) take(ctx context.Context, a *ask, deadline time.Time) ([]driver.Granted, error) {
	if deadline.IsZero() {
		return p.try(ctx, a)
	}
	a.mode = modeWait
	w := p.waits.add(a)
	got, err := p.state(ctx, w.ask, deadline)
	if err != nil {
		if p.waits.drop(w) {
			return w.holds, w.err // the grant has come all the same
		}
		return nil, p.giveUp(ctx, a, deadline, err)
	}
	if got.kind != answerWaiting {
		p.waits.drop(w)
		return p.final(a, &got)
	}
	p.waits.begin(w, &got)
	return p.await(ctx, w, deadline)
}

// try asks for what is there now.
func (p *Provider) try(ctx context.Context, a *ask) ([]driver.Granted, error) {
	a.mode = modeTry
	got, err := p.state(ctx, a, time.Time{})
	for err == nil && got.more {
		got, err = p.state(ctx, a, time.Time{})
	}
	if err != nil {
		return nil, p.giveUp(ctx, a, time.Time{}, err)
	}
	return p.final(a, &got)
}

// state sends an ask until there is an answer: it is safe to send one again. A
// request that does not wait is sent again once only, and not to a server that
// cannot answer yet.
func (p *Provider) state(ctx context.Context, a *ask, deadline time.Time) (answer, error) {
	for sent := 1; ; sent++ {
		got, err := p.put(ctx, a)
		if err == nil || ended(ctx) != nil {
			return got, err
		}
		switch {
		case !lost(err) && !passing(err):
			return got, err
		case deadline.IsZero() && (sent > 1 || passing(err)):
			return got, err
		case !deadline.IsZero() && !time.Now().Before(deadline):
			return got, err
		case sent > 1 || passing(err):
			if e := p.pause(ctx, sent, deadline); e != nil {
				return got, errors.Join(e, err)
			}
		}
	}
}

// giveUp ends a request whose last answer was an error. What it may have taken, or
// the place in the queue it may have got, is given back.
func (p *Provider) giveUp(ctx context.Context, a *ask, deadline time.Time, err error) error {
	var flying *inFlightError
	if errors.As(err, &flying) {
		p.takeBackLater(a, flying.done)
	} else if _, unsent := errors.AsType[*notSentError](err); (lost(err) && !unsent) || a.place > 0 {
		if e := p.cancel(ctx, a.req.Owner, a.id, []group{*a.group}); e != nil {
			p.log.Debug("lockredis: a request that got no answer could not be taken back; it lapses by itself", "error", e)
			if a.req.TTL == 0 {
				err = errors.Join(err, e)
			}
		}
	}
	switch end := ended(ctx); {
	case end != nil:
		return errors.Join(end, err)
	case errors.Is(err, driver.ErrClosed):
		return err
	case !deadline.IsZero() && !time.Now().Before(deadline):
		return fmt.Errorf("%w; the server gave no answer: %w", driver.ErrTimeout, err)
	}
	return fmt.Errorf("lockredis: acquire: %w", err)
}

// takeBackLater takes a request back when the command that is on its way has ended:
// a give-back that overtook it would find nothing.
func (p *Provider) takeBackLater(a *ask, done <-chan struct{}) {
	if p.life.enter() != nil {
		return
	}
	go func() {
		defer p.life.leave()
		<-done // the client's read timeout bounds it
		if err := p.cancel(context.Background(), a.req.Owner, a.id, []group{*a.group}); err != nil {
			p.log.Warn("lockredis: a request that ended could not be taken back; what has an expiry lapses by itself", "keys", a.req.Keys, "error", err)
		}
	}()
}

// final turns an answer into what Acquire returns.
func (p *Provider) final(a *ask, got *answer) ([]driver.Granted, error) {
	switch got.kind {
	case answerGranted:
		return got.holds, nil
	case answerRevoked:
		return nil, driver.ErrRevoked
	case answerDeadlock:
		return nil, got.circle
	case answerBusy, answerWaiting:
	}
	if a.req.Wait < 0 {
		return nil, got.busy
	}
	return nil, driver.ErrTimeout
}

// await waits until the request is answered, for as long as it may.
func (p *Provider) await(ctx context.Context, w *wait, deadline time.Time) ([]driver.Granted, error) {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	var reason error
	select {
	case <-w.done:
		return w.holds, w.err
	case <-timer.C:
		reason = driver.ErrTimeout
	case <-ctx.Done():
		reason = ctx.Err()
	case <-p.life.closing:
		reason = driver.ErrClosed
	}
	if p.waits.drop(w) {
		return w.holds, w.err
	}
	if err := p.cancel(ctx, w.ask.req.Owner, w.ask.id, []group{*w.ask.group}); err != nil {
		// Its place, and what may be offered to it there, ends with the offer's
		// time; this process does not count it as waiting any more.
		p.log.Debug("lockredis: a request that ended could not be taken back; it lapses by itself", "error", err)
	}
	return nil, reason
}

// cancel frees what a request took and leaves the queue, and nothing else. The
// caller's context may have ended.
func (p *Provider) cancel(ctx context.Context, owner, id string, groups []group) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelTime)
	defer stop()
	var errs []error
	for i := range groups {
		if _, err := p.cancelGroup(ctx, owner, id, &groups[i]); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (p *Provider) cancelGroup(ctx context.Context, owner, id string, g *group) (bool, error) {
	for sent := 1; ; sent++ {
		reply, err := p.send(ctx, cancelScript, append(g.command(cancelScript, 2), id, owner))
		if err == nil {
			list, ok := reply.([]any)
			r := reader{list: list}
			found, more := r.number(), r.number()
			if !ok || r.bad {
				return false, badReply(cancelScript.name, reply)
			}
			if more == 1 {
				p.lookAgain(g)
			}
			return found == 1, nil
		}
		if !lost(err) && !passing(err) || p.pause(ctx, sent, time.Time{}) != nil {
			return false, fmt.Errorf("lockredis: give back a request (what has an expiry lapses by itself): %w", err)
		}
	}
}
