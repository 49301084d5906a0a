package lockredis

import (
	"context"
	"errors"
	"time"
)

const (
	// sendTries is how often a call is sent whose answer does not come.
	sendTries = 4
	// passingTime is for how long a server is asked again that says it cannot answer now:
	// a slot on its way to another node takes as long as its keys do.
	passingTime = 2 * time.Second
)

// again makes a call, whose repetition does no harm, until it is answered.
func (p *Provider) again(ctx context.Context, call func() error) error {
	began := time.Now()
	for sent := 1; ; sent++ {
		err := call()
		if err == nil {
			return nil
		}
		if end := ended(ctx); end != nil {
			return errors.Join(end, err)
		}
		switch {
		case lost(err) && sent < sendTries:
		case passing(err) && time.Since(began) < passingTime:
		default:
			return err
		}
		if e := p.pause(ctx, sent, time.Time{}); e != nil {
			return errors.Join(e, err)
		}
	}
}

// callAgain runs a script, whose repetition does no harm, until it is answered.
func (p *Provider) callAgain(ctx context.Context, s *script, args []any) (reply any, err error) {
	err = p.again(ctx, func() error {
		reply, err = p.send(ctx, s, args)
		return err
	})
	return reply, err
}
