package locking

import (
	"context"
	"fmt"
	"slices"

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
	sorted, err := s.normalize(nil, keys)
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
		o = opt.toRelease(o)
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
	var list []runctx.Hold
	for _, k := range keys {
		if h, ok := scope.Releasable(runctx.LockID{Provider: p.id, Key: k}); ok && !scope.Ended() {
			list = append(list, h)
		}
	}
	freed, err := p.freeKept(ctx, scope, list)
	return freed == len(keys), err
}

func (p *provider) releaseScopedAll(ctx context.Context, scope *runctx.Scope) (int, error) {
	if scope.Ended() {
		return 0, nil
	}
	return p.freeKept(ctx, scope, slices.DeleteFunc(scope.ReleasableAll(), func(h runctx.Hold) bool {
		return h.Record().Provider != p.id
	}))
}

// freeKept frees holds that a scope keeps, and says how many were there. While
// there is no answer the scope goes on keeping them, so that the end of the
// execution tries again.
func (p *provider) freeKept(ctx context.Context, scope *runctx.Scope, list []runctx.Hold) (n int, err error) {
	freed, failed := runctx.FreeAll(ctx, list)
	var unanswered []string
	for i, h := range list {
		if failed[i] != nil {
			unanswered, err = append(unanswered, h.Record().Key), failed[i]
			continue
		}
		scope.Forget(h)
		if freed[i] {
			n++
		}
	}
	if err != nil {
		return n, fmt.Errorf("locking: release %s at %s: %w", quoteKeys(unanswered), p.id, err)
	}
	return n, nil
}

func all(answers []bool) bool {
	for _, a := range answers {
		if !a {
			return false
		}
	}
	return true
}
