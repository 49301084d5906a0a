package locks

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"
)

// rueidisLocks is rueidislock, on the client of its own.
type rueidisLocks struct{ locker rueidislock.Locker }

// asItComes leaves every option at its default: three keys a lock, of which it
// needs two, and a validity of 5 s.
func asItComes(*rueidislock.LockerOption) {}

// oneKey is the setting for one server.
func oneKey(o *rueidislock.LockerOption) {
	o.KeyMajority, o.NoLoopTracking, o.KeyValidity = 1, true, TTL
}

func openRueidislock(set func(*rueidislock.LockerOption)) func(context.Context, Env) (Locker, error) {
	return func(_ context.Context, env Env) (Locker, error) {
		o := rueidislock.LockerOption{ClientOption: rueidis.ClientOption{
			InitAddress: []string{env.Addr},
			DialCtxFn: func(ctx context.Context, addr string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
				return env.Wire.Dial(ctx, "tcp", addr)
			},
		}}
		set(&o)
		locker, err := rueidislock.NewLocker(o)
		if err != nil {
			return nil, err
		}
		return &rueidisLocks{locker}, nil
	}
}

func (r *rueidisLocks) Hold(ctx context.Context, keys []string, section func(uint64)) error {
	_, release, err := r.locker.WithContext(ctx, keys[0])
	if err != nil {
		return err
	}
	section(0)
	release()
	return nil
}

func (r *rueidisLocks) Close() error {
	r.locker.Close()
	return nil
}
