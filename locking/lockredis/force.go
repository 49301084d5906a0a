package lockredis

import (
	"context"
	"fmt"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// The answers of force.lua.
const (
	forceNotHeld = iota
	forceDone
	forceForeign
	forceUnsure
)

// ForceRelease implements [driver.Inspector]. It is one call, in which the record
// for Audit is kept, too; when its answer is lost it is sent again, and does what
// it does once.
//
// The process that took the key is told. Others whose owner joined the hold, and
// one whose connection is down at the moment, learn it when they extend it.
//
// A ticket that has been offered the key is ended with [driver.ErrRevoked].
func (p *Provider) ForceRelease(ctx context.Context, req driver.ForceRequest) (bool, error) {
	if err := p.life.enter(); err != nil {
		return false, err
	}
	defer p.life.leave()
	g := &p.keys.groups([]string{req.Key})[0]
	now := 0
	if req.Now {
		now = 1
	}
	args := append(g.command(forceScript, 5), req.Owner, tokenText(req.Token), req.Reason, now, p.requestID())
	var said []int64
	unsure, err := p.untilSure(ctx, sureAtLast, func() (bool, error) {
		reply, err := p.callAgain(ctx, forceScript, args)
		if err == nil {
			said, err = numbers(forceScript.name, reply, 2)
		}
		return err == nil && said[0] == forceUnsure, err
	})
	if err == nil && unsure {
		err = &UnsureError{req.Key}
	}
	if err != nil {
		return false, fmt.Errorf("lockredis: force release: %w", err)
	}
	if said[1] == 1 {
		p.lookAgain(g)
	}
	switch said[0] {
	case forceNotHeld:
		return false, nil
	case forceDone:
		return true, nil
	case forceForeign:
		return false, fmt.Errorf("lockredis: force release: %w", driver.ErrForeign)
	}
	return false, badReply(forceScript.name, said)
}
