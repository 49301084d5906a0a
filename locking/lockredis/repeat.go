package lockredis

import (
	"context"
	"errors"
	"time"
)

// sendTries is how often a call is sent whose answer does not come.
const sendTries = 4

// again makes a call, whose repetition does no harm, until it is answered.
func (p *Provider) again(ctx context.Context, call func() error) error {
	for sent := 1; ; sent++ {
		err := call()
		if err == nil {
			return nil
		}
		if end := ended(ctx); end != nil {
			return errors.Join(end, err)
		}
		if sent == sendTries || (!lost(err) && !passing(err)) {
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
