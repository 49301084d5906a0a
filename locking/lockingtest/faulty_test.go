package lockingtest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// faulty is a provider of which some calls are broken; the others are passed on.
type faulty struct {
	driver.Provider
	broken

	acquire    func(ctx context.Context, req driver.Request) (driver.Grant, error)
	extend     func(ctx context.Context, ttl time.Duration, holds []driver.Hold) ([]driver.Extension, error)
	release    func(ctx context.Context, holds []driver.Hold) ([]bool, error)
	releaseAll func(ctx context.Context, owner string) (int, error)
	close      func(ctx context.Context) error
	describe   func() driver.Info

	mu   sync.Mutex
	last map[string]driver.Hold // what was granted last, by key
}

func (f *faulty) Acquire(ctx context.Context, req driver.Request) (driver.Grant, error) {
	acquire := f.Provider.Acquire
	if f.acquire != nil {
		acquire = f.acquire
	}
	grant, err := acquire(ctx, req)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range grant.Holds {
		if f.last == nil {
			f.last = map[string]driver.Hold{}
		}
		if h.Owner != stranger {
			f.last[h.Key] = h.Hold
		}
	}
	return grant, err
}

// known returns what was granted last on a key; its token is zero if nothing was.
func (f *faulty) known(key string) driver.Hold {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last[key]
}

func (f *faulty) Extend(ctx context.Context, ttl time.Duration, holds []driver.Hold) ([]driver.Extension, error) {
	if f.extend != nil {
		return f.extend(ctx, ttl, holds)
	}
	return f.Provider.Extend(ctx, ttl, holds)
}

func (f *faulty) Release(ctx context.Context, holds []driver.Hold) ([]bool, error) {
	if f.release != nil {
		return f.release(ctx, holds)
	}
	return f.Provider.Release(ctx, holds)
}

func (f *faulty) ReleaseAll(ctx context.Context, owner string) (int, error) {
	if f.releaseAll != nil {
		return f.releaseAll(ctx, owner)
	}
	return f.Provider.ReleaseAll(ctx, owner)
}

func (f *faulty) Close(ctx context.Context) error {
	if f.close != nil {
		return f.close(ctx)
	}
	return f.Provider.Close(ctx)
}

func (f *faulty) Describe() driver.Info {
	if f.describe != nil {
		return f.describe()
	}
	return f.Provider.Describe()
}

// holderOf asks who has a key now.
func holderOf(p driver.Provider, key string) string {
	grant, err := p.Acquire(context.Background(), ask("spy", key))
	var busy *driver.BusyError
	switch {
	case errors.As(err, &busy):
		return busy.Holder
	case err == nil:
		freed(p, grant.Holds[0].Hold)
	}
	return ""
}

// freed releases one hold.
func freed(p driver.Provider, h driver.Hold) bool {
	answers, err := p.Release(context.Background(), []driver.Hold{h})
	return err == nil && answers[0]
}

// freeLater releases what the owner has of a key when the time is over.
func freeLater(p driver.Provider, after time.Duration, key, owner string) {
	time.AfterFunc(after, func() { freed(p, driver.Hold{Key: key, Owner: owner}) })
}

// one asks for one key of a request.
func one(req driver.Request, key string) driver.Request {
	req.Keys = []string{key}
	return req
}

// change passes grants on with each hold changed.
func change(p driver.Provider, hold func(*driver.Granted)) func(context.Context, driver.Request) (driver.Grant, error) {
	return func(ctx context.Context, req driver.Request) (driver.Grant, error) {
		grant, err := p.Acquire(ctx, req)
		for i := range grant.Holds {
			hold(&grant.Holds[i])
		}
		return grant, err
	}
}

// before passes requests on changed.
func before(p driver.Provider, request func(*driver.Request)) func(context.Context, driver.Request) (driver.Grant, error) {
	return func(ctx context.Context, req driver.Request) (driver.Grant, error) {
		request(&req)
		return p.Acquire(ctx, req)
	}
}

// translate shows the provider other keys, owners, generations and tokens than
// the caller has, and the other way round.
type translate struct {
	key, owner func(string) string
	generation func(driver.Generation) driver.Generation
	token      func(driver.Token) driver.Token // to the caller
	plain      func(driver.Token) driver.Token // to the provider
}

func (tr translate) wrap(p driver.Provider) driver.Provider {
	hold := func(h driver.Hold) driver.Hold {
		if tr.key != nil {
			h.Key = tr.key(h.Key)
		}
		if tr.owner != nil {
			h.Owner = tr.owner(h.Owner)
		}
		if tr.plain != nil && h.Token != 0 {
			h.Token = tr.plain(h.Token)
		}
		return h
	}
	holds := func(list []driver.Hold) []driver.Hold {
		all := make([]driver.Hold, len(list))
		for i, h := range list {
			all[i] = hold(h)
		}
		return all
	}
	return &faulty{
		Provider: p,
		acquire:  func(ctx context.Context, req driver.Request) (driver.Grant, error) { return tr.acquire(ctx, p, req) },
		extend: func(ctx context.Context, ttl time.Duration, list []driver.Hold) ([]driver.Extension, error) {
			return p.Extend(ctx, ttl, holds(list))
		},
		release: func(ctx context.Context, list []driver.Hold) ([]bool, error) { return p.Release(ctx, holds(list)) },
		releaseAll: func(ctx context.Context, owner string) (int, error) {
			return p.ReleaseAll(ctx, hold(driver.Hold{Owner: owner}).Owner)
		},
	}
}

func (tr translate) acquire(ctx context.Context, p driver.Provider, req driver.Request) (driver.Grant, error) {
	asked := req
	if tr.key != nil {
		req.Keys = nil
		seen := map[string]bool{}
		for _, k := range asked.Keys {
			if k = tr.key(k); !seen[k] {
				seen[k] = true
				req.Keys = append(req.Keys, k)
			}
		}
	}
	if tr.owner != nil {
		req.Owner = tr.owner(req.Owner)
	}
	if tr.generation != nil {
		req.Generation = tr.generation(req.Generation)
	}
	grant, err := p.Acquire(ctx, req)
	for i := range grant.Holds {
		h := &grant.Holds[i]
		h.Owner, h.Generation = asked.Owner, asked.Generation
		if len(req.Keys) == len(asked.Keys) {
			h.Key = asked.Keys[i]
		}
		if tr.token != nil {
			h.Token = tr.token(h.Token)
		}
	}
	return grant, err
}
