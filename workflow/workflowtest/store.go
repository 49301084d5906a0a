package workflowtest

import (
	"context"
	"fmt"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// mortalStore is a store as a process sees it that may die at its calls. Those that write
// nothing are not counted, nor are leases, which end by themselves.
type mortalStore struct {
	store.Store

	d *death
}

var none = struct{}{}

func just(do func() error) func() (struct{}, error) {
	return func() (struct{}, error) { return none, do() }
}

// Create implements [store.Store].
func (s *mortalStore) Create(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
	return call(s.d, "the creation of "+x.String(), func() (*store.Snapshot, error) { return s.Store.Create(ctx, x) })
}

// Commit implements [store.Store].
func (s *mortalStore) Commit(ctx context.Context, writes []store.Write) []error {
	what := "an empty write"
	if len(writes) > 0 {
		w := &writes[0]
		what = fmt.Sprintf("the write behind revision %d of %s", w.Fence.Revision, w.Key)
	}
	errs, err := call(s.d, what, func() ([]error, error) { return s.Store.Commit(ctx, writes), nil })
	if err == nil {
		return errs
	}
	errs = make([]error, len(writes))
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// Claim implements [store.Store].
func (s *mortalStore) Claim(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
	got, err := quietly(s.d, func() ([]store.Claimed, error) { return s.Store.Claim(ctx, c) })
	if len(got) > 0 && !s.d.pass("after the claim of "+got[0].String()) {
		return nil, errDead
	}
	return got, err
}

// Heartbeat implements [store.Store].
func (s *mortalStore) Heartbeat(ctx context.Context, i store.Instance, lease time.Duration) error {
	_, err := quietly(s.d, just(func() error { return s.Store.Heartbeat(ctx, i, lease) }))
	return err
}

// Release implements [store.Store].
func (s *mortalStore) Release(ctx context.Context, i store.Instance, held []store.Held) error {
	_, err := call(s.d, "a release", just(func() error { return s.Store.Release(ctx, i, held) }))
	return err
}

// End implements [store.Store].
func (s *mortalStore) End(ctx context.Context, i store.Instance) error {
	_, err := quietly(s.d, just(func() error { return s.Store.End(ctx, i) }))
	return err
}

// Deliver implements [store.Store].
func (s *mortalStore) Deliver(ctx context.Context, key store.Key, m store.Message) error {
	_, err := call(s.d, "a message to "+key.String(), just(func() error { return s.Store.Deliver(ctx, key, m) }))
	return err
}

// Inbox implements [store.Store].
func (s *mortalStore) Inbox(ctx context.Context, key store.Key) ([]store.Message, error) {
	return quietly(s.d, func() ([]store.Message, error) { return s.Store.Inbox(ctx, key) })
}

// Unread implements [store.Store].
func (s *mortalStore) Unread(ctx context.Context, i store.Instance) ([]store.Key, error) {
	return quietly(s.d, func() ([]store.Key, error) { return s.Store.Unread(ctx, i) })
}

// Load implements [store.Store].
func (s *mortalStore) Load(ctx context.Context, key store.Key) (*store.Snapshot, error) {
	return quietly(s.d, func() (*store.Snapshot, error) { return s.Store.Load(ctx, key) })
}

// List implements [store.Store].
func (s *mortalStore) List(ctx context.Context, q store.Query) (store.Page, error) {
	return quietly(s.d, func() (store.Page, error) { return s.Store.List(ctx, q) })
}

// Watch implements [store.Store].
func (s *mortalStore) Watch(ctx context.Context, i store.Instance, tell func(store.Notice)) error {
	_, err := quietly(s.d, just(func() error {
		return s.Store.Watch(ctx, i, func(n store.Notice) {
			if s.d.alive() {
				tell(n)
			}
		})
	}))
	return err
}

// Forget implements [store.Store].
func (s *mortalStore) Forget(ctx context.Context, key store.Key, runUID string) error {
	_, err := call(s.d, "forgetting "+key.String(), just(func() error { return s.Store.Forget(ctx, key, runUID) }))
	return err
}
