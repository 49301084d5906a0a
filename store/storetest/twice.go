package storetest

import (
	"context"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// twice makes every call that changes something two times, and answers with the second
// answer, as a client does that has lost the first.
type twice struct{ store.Store }

func (s twice) Create(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
	_, _ = s.Store.Create(ctx, x)
	return s.Store.Create(ctx, x)
}

func (s twice) Commit(ctx context.Context, writes []store.Write) []error {
	_ = s.Store.Commit(ctx, writes)
	return s.Store.Commit(ctx, writes)
}

func (s twice) Claim(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
	_, _ = s.Store.Claim(ctx, c)
	return s.Store.Claim(ctx, c)
}

func (s twice) Heartbeat(ctx context.Context, i store.Instance, lease time.Duration) error {
	_ = s.Store.Heartbeat(ctx, i, lease)
	return s.Store.Heartbeat(ctx, i, lease)
}

func (s twice) Release(ctx context.Context, i store.Instance, held []store.Held) error {
	_ = s.Store.Release(ctx, i, held)
	return s.Store.Release(ctx, i, held)
}

func (s twice) End(ctx context.Context, i store.Instance) error {
	_ = s.Store.End(ctx, i)
	return s.Store.End(ctx, i)
}

func (s twice) Deliver(ctx context.Context, key store.Key, m store.Message) error {
	_ = s.Store.Deliver(ctx, key, m)
	return s.Store.Deliver(ctx, key, m)
}

func (s twice) Forget(ctx context.Context, key store.Key, runUID string) error {
	_ = s.Store.Forget(ctx, key, runUID)
	return s.Store.Forget(ctx, key, runUID)
}

func (s twice) Take(ctx context.Context, t store.Take) ([]store.Taken, time.Duration, error) {
	if list, pause, err := tasksOf(s.Store).Take(ctx, t); err != nil {
		return list, pause, err // which is the same again
	}
	return tasksOf(s.Store).Take(ctx, t)
}

func (s twice) Finish(ctx context.Context, i store.Instance, t store.TaskHeld, m store.Message) error {
	_ = tasksOf(s.Store).Finish(ctx, i, t, m)
	return tasksOf(s.Store).Finish(ctx, i, t, m)
}

func (s twice) PutBack(ctx context.Context, i store.Instance, tasks []store.TaskHeld) error {
	_ = tasksOf(s.Store).PutBack(ctx, i, tasks)
	return tasksOf(s.Store).PutBack(ctx, i, tasks)
}

func (s twice) Pause(ctx context.Context, queue string, paused bool) error {
	_ = tasksOf(s.Store).Pause(ctx, queue, paused)
	return tasksOf(s.Store).Pause(ctx, queue, paused)
}

func (s twice) Queues(ctx context.Context) ([]store.QueueState, error) {
	return tasksOf(s.Store).Queues(ctx)
}

// tasksOf is a store that keeps tasks, as the cases for such stores have made sure.
func tasksOf(s store.Store) store.TaskQueue { return s.(store.TaskQueue) } //nolint:forcetypeassert // as its comment says

func (s twice) Close(ctx context.Context) error {
	_ = s.Store.Close(ctx)
	return s.Store.Close(ctx)
}
