package lockredis

import (
	"context"
	"errors"
	"time"
)

// callAgain runs a script, whose repetition does no harm, until it is answered.
func (p *Provider) callAgain(ctx context.Context, s *script, args []any) (any, error) {
	for sent := 1; ; sent++ {
		reply, err := p.send(ctx, s, args)
		if err == nil {
			return reply, nil
		}
		if end := ended(ctx); end != nil {
			return nil, errors.Join(end, err)
		}
		if sent == sendTries || (!lost(err) && !passing(err)) {
			return nil, err
		}
		if e := p.pause(ctx, sent, time.Time{}); e != nil {
			return nil, errors.Join(e, err)
		}
	}
}
