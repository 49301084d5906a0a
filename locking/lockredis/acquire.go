package lockredis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// cancelTime bounds the give-back of a request that the caller does not wait for.
const cancelTime = 250 * time.Millisecond

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
	if len(groups) > 1 {
		own := req // so that most requests are copied once
		return p.acquireGroups(ctx, &own, groups, deadline)
	}
	who := p.masters.whoHas(ctx, groups[0].hub)
	holds, err := p.take(ctx, &newRequest(&req, &groups[0], p.requestID()).ask, deadline)
	if err != nil {
		return driver.Grant{}, err
	}
	p.owe(groups[0].hub, len(holds), req.TTL)
	p.watch(groups[0].hub, holds, who)
	return driver.Grant{Holds: holds}, nil
}

// requestID tells this process's requests from each other, and from all others: the
// process, a point and a number.
func (p *Provider) requestID() string {
	var room [64]byte
	b := append(append(room[:0], p.self...), '.')
	return string(strconv.AppendUint(b, p.requests.Add(1), 36))
}

// take takes the keys of one group. A zero deadline is no waiting.
func (p *Provider) take(ctx context.Context, a *ask, deadline time.Time) ([]driver.Granted, error) {
	holds, err := p.obtain(ctx, a, deadline)
	if a.unanswered { // one that comes when this one has been released would hold for nobody
		p.waits.leaveLater(a.leaving(holds))
	}
	return holds, err
}

func (p *Provider) obtain(ctx context.Context, a *ask, deadline time.Time) ([]driver.Granted, error) {
	if deadline.IsZero() {
		return p.try(ctx, a)
	}
	a.mode = modeWait
	w := p.waits.add(a)
	holds, err := p.standInLine(ctx, a, w, deadline)
	putSignal(w.done) // it is settled or dropped, so nobody else has the wait's signal
	return holds, err
}

// standInLine asks for what is waited for, and waits. When it returns the wait has been
// settled or dropped.
func (p *Provider) standInLine(ctx context.Context, a *ask, w *wait, deadline time.Time) ([]driver.Granted, error) {
	got := getAnswer()
	err := p.state(ctx, a, deadline, got)
	switch {
	case err != nil:
		putAnswer(got)
		if p.waits.drop(w) {
			return w.holds, w.err // the grant has come all the same
		}
		return nil, p.giveUp(ctx, a, deadline, err)
	case got.kind == answerGranted:
		p.waits.settle(a.id, got.holds, got.successors, nil)
		putAnswer(got)
		return w.holds, w.err
	case got.kind != answerWaiting:
		p.waits.drop(w)
		return final(a, got)
	}
	p.waits.begin(w, got)
	putAnswer(got)
	return p.await(ctx, w, deadline)
}

// try asks for what is there now.
func (p *Provider) try(ctx context.Context, a *ask) ([]driver.Granted, error) {
	a.mode = modeTry
	var got answer
	err := p.state(ctx, a, time.Time{}, &got)
	for err == nil && got.more {
		err = p.state(ctx, a, time.Time{}, &got)
	}
	if err != nil {
		return nil, p.giveUp(ctx, a, time.Time{}, err)
	}
	return final(a, &got)
}

// state sends an ask until there is an answer: it is safe to send one again. A
// request that does not wait is sent again once only, and not to a server that
// cannot answer yet.
//
// The answer is the caller's: a copy would be a part of the stack of everybody who waits.
func (p *Provider) state(ctx context.Context, a *ask, deadline time.Time, got *answer) error {
	for sent := 1; ; sent++ {
		err := p.put(ctx, a, got)
		if err == nil {
			return nil
		}
		if _, unsent := errors.AsType[*notSentError](err); lost(err) && !unsent {
			p.waits.sentInVain(a)
		}
		if ended(ctx) != nil {
			return err
		}
		switch {
		case !lost(err) && !passing(err):
			return err
		case deadline.IsZero() && (sent > 1 || passing(err)):
			return err
		case !deadline.IsZero() && !time.Now().Before(deadline):
			return err
		case sent > 1 || passing(err):
			if e := p.pause(ctx, sent, deadline); e != nil {
				return errors.Join(e, err)
			}
		}
	}
}

// giveUp ends a request whose last answer was an error. What it may have taken, or
// the place in the queue it may have got, is given back.
func (p *Provider) giveUp(ctx context.Context, a *ask, deadline time.Time, err error) error {
	if flying, ok := errors.AsType[*inFlightError](err); ok {
		p.takeBackLater(a, flying.done)
	} else if a.unanswered || a.place > 0 {
		if e := p.cancel(ctx, a); e != nil && a.req.TTL == 0 {
			err = errors.Join(err, e)
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
	return fmt.Errorf("lockredis: acquire: %w", deniedLocks(err, a.group.places))
}

// takeBackLater takes a request back when the command that is on its way has ended:
// a give-back that overtook it would find nothing.
func (p *Provider) takeBackLater(a *ask, done <-chan struct{}) {
	own := *a
	p.waits.saidEnd(a)
	take := func() {
		<-done                                   // the client's read timeout bounds it
		_ = p.cancel(context.Background(), &own) // it has noted what is left to do
	}
	if p.life.enter() != nil { // the provider is closing, and waits for this call
		take()
		return
	}
	go func() {
		defer p.life.leave()
		take()
	}()
}

// final turns an answer into what Acquire returns.
func final(a *ask, got *answer) ([]driver.Granted, error) {
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
		return nil, &driver.BusyError{Key: a.req.Keys[a.group.at[got.busy]], Holder: got.holder}
	}
	return nil, driver.ErrTimeout
}

// timers are timers that are stopped. Nothing is left in their channels.
var timers = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}}

// await waits until the request is answered, for as long as it may.
func (p *Provider) await(ctx context.Context, w *wait, deadline time.Time) ([]driver.Granted, error) {
	timer, _ := timers.Get().(*time.Timer)
	timer.Reset(time.Until(deadline))
	defer func() {
		timer.Stop()
		timers.Put(timer)
	}()
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
	_ = p.cancel(ctx, w.ask) // it has noted what is left to do
	return nil, reason
}

// cancel frees what requests took and leaves the queues, and nothing else. The
// caller's context may have ended. Where the server cannot be reached it is tried
// again at each tick.
func (p *Provider) cancel(ctx context.Context, asks ...*ask) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelTime)
	defer stop()
	errs := make([]error, len(asks))
	var all sync.WaitGroup
	for i := 1; i < len(asks); i++ { // a node that does not answer is not to hold up the others
		all.Go(func() { errs[i] = p.leave(ctx, asks[i].leaving(nil)) })
	}
	errs[0] = p.leave(ctx, asks[0].leaving(nil))
	all.Wait()
	for _, a := range asks {
		p.waits.saidEnd(a)
	}
	return errors.Join(errs...)
}

// cancelGroup says whether there was anything to end.
func (p *Provider) cancelGroup(ctx context.Context, l *leaving) (bool, error) {
	unanswered := 0
	if l.unanswered {
		unanswered = 1
	}
	for sent := 1; ; sent++ {
		args := append(l.group.command(cancelScript, 3+len(l.rest)), l.id, l.owner, unanswered)
		reply, err := p.send(ctx, cancelScript, append(args, l.rest...))
		if err == nil {
			list, ok := reply.([]any)
			r := reader{list: list}
			found, more := r.number(), r.number()
			if !ok || r.bad {
				return false, badReply(cancelScript.name, reply)
			}
			if more == 1 {
				p.lookAgain(&l.group)
			}
			return found == 1, nil
		}
		if !lost(err) && !passing(err) || p.pause(ctx, sent, time.Time{}) != nil {
			return false, fmt.Errorf("lockredis: give back a request (it is tried again): %w", err)
		}
	}
}
