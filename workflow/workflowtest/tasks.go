package workflowtest

import (
	"context"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// mortalTasks is a [mortalStore] that keeps tasks.
type mortalTasks struct {
	*mortalStore

	tasks store.TaskQueue
}

var _ store.TaskQueue = (*mortalTasks)(nil)

// mortal is a store as a process sees it that may die at its calls.
func mortal(s store.Store, d *death) store.Store {
	m := &mortalStore{s, d}
	if tasks, ok := s.(store.TaskQueue); ok {
		return &mortalTasks{m, tasks}
	}
	return m
}

type takings struct {
	list  []store.Taken
	pause time.Duration
}

// Take implements [store.TaskQueue].
func (s *mortalTasks) Take(ctx context.Context, t store.Take) ([]store.Taken, time.Duration, error) {
	got, err := quietly(s.d, func() (takings, error) {
		list, pause, err := s.tasks.Take(ctx, t)
		return takings{list, pause}, err
	})
	if len(got.list) > 0 && !s.d.pass("after the taking of "+got.list[0].Held().String()) {
		return nil, 0, errDead
	}
	return got.list, got.pause, err
}

// Finish implements [store.TaskQueue].
func (s *mortalTasks) Finish(ctx context.Context, i store.Instance, t store.TaskHeld, m store.Message) error {
	_, err := call(s.d, "the end of "+t.String(), just(func() error { return s.tasks.Finish(ctx, i, t, m) }))
	return err
}

// PutBack implements [store.TaskQueue].
func (s *mortalTasks) PutBack(ctx context.Context, i store.Instance, tasks []store.TaskHeld) error {
	_, err := call(s.d, "putting tasks back", just(func() error { return s.tasks.PutBack(ctx, i, tasks) }))
	return err
}

// Pause implements [store.TaskQueue].
func (s *mortalTasks) Pause(ctx context.Context, queue string, paused bool) error {
	_, err := call(s.d, "a pause of "+queue, just(func() error { return s.tasks.Pause(ctx, queue, paused) }))
	return err
}

// Queues implements [store.TaskQueue].
func (s *mortalTasks) Queues(ctx context.Context) ([]store.QueueState, error) {
	return quietly(s.d, func() ([]store.QueueState, error) { return s.tasks.Queues(ctx) })
}
