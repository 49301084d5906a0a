package locking

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Release frees keys by their names, at once, whatever handles there are. It
// answers true when all of them were held and have been freed.
//
// Outside executions it frees what the named owner has, in whichever process it
// was taken, or what was taken without an owner; never a lock of another owner.
// Inside a step, without [WithOwner], it frees what this attempt took and what an
// earlier step of the same sequence left behind; what a guard or an outer
// sequence holds stays held, and the answer is false.
func (s *Service) Release(ctx context.Context, keys []string, opts ...ReleaseOption) (bool, error) {
	p, o, err := s.releasing(opts)
	if err != nil {
		return false, err
	}
	sorted, err := s.normalize(keys)
	if err != nil {
		return false, err
	}
	if scope := runctx.ScopeFrom(ctx); scope != nil && !o.ownerSet {
		return p.releaseScoped(ctx, scope, sorted)
	}
	freed, err := p.holds.freeNamed(ctx, o.ownerName(), sorted)
	if err != nil {
		return false, fmt.Errorf("locking: release %s at %s: %w", quoteKeys(sorted), p.id, err)
	}
	return all(freed), nil
}

// ReleaseAll frees everything that the named owner has at the provider, or
// everything that was taken without an owner, and says how many locks that were.
// Inside a step, without [WithOwner], it frees what [Service.Release] would.
func (s *Service) ReleaseAll(ctx context.Context, opts ...ReleaseOption) (int, error) {
	p, o, err := s.releasing(opts)
	if err != nil {
		return 0, err
	}
	if scope := runctx.ScopeFrom(ctx); scope != nil && !o.ownerSet {
		return p.releaseScopedAll(ctx, scope)
	}
	n, err := p.holds.freeOwner(ctx, o.ownerName())
	if err != nil {
		return n, fmt.Errorf("locking: release all of %s at %s: %w", quoteShort(o.ownerName()), p.id, err)
	}
	return n, nil
}

func (s *Service) releasing(opts []ReleaseOption) (*provider, *options, error) {
	var o options
	for _, opt := range opts {
		opt.toRelease(&o)
	}
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	p, err := s.provider(o.provider)
	return p, &o, err
}

func (o *options) ownerName() string {
	if o.ownerSet {
		return o.owner
	}
	return driver.Anonymous
}

func (p *provider) releaseScoped(ctx context.Context, scope *runctx.Scope, keys []string) (bool, error) {
	freed := make([]bool, len(keys))
	var errs []error
	for i, k := range keys {
		h, ok := scope.Releasable(runctx.LockID{Provider: p.id, Key: k})
		if !ok || scope.Ended() {
			continue
		}
		var err error
		if freed[i], err = p.freeKept(ctx, scope, h); err != nil {
			errs = append(errs, err)
		}
	}
	return all(freed), errors.Join(errs...)
}

func (p *provider) releaseScopedAll(ctx context.Context, scope *runctx.Scope) (int, error) {
	if scope.Ended() {
		return 0, nil
	}
	n := 0
	var errs []error
	for _, h := range scope.ReleasableAll() {
		if h.Record().Provider != p.id {
			continue
		}
		ok, err := p.freeKept(ctx, scope, h)
		if err != nil {
			errs = append(errs, err)
		}
		if ok {
			n++
		}
	}
	return n, errors.Join(errs...)
}

// freeKept frees a hold that a scope keeps. While there is no answer the scope
// goes on keeping it, so that the end of the execution tries again.
func (p *provider) freeKept(ctx context.Context, scope *runctx.Scope, h runctx.Hold) (bool, error) {
	freed, err := h.Free(ctx)
	if err != nil {
		return false, fmt.Errorf("locking: release %s at %s: %w", quoteShort(h.Record().Key), p.id, err)
	}
	scope.Forget(h)
	return freed, nil
}

func all(answers []bool) bool {
	for _, a := range answers {
		if !a {
			return false
		}
	}
	return true
}
