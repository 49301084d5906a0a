package storetest

import (
	"context"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// onPause breaks what is paused.
func onPause(pause func(ctx context.Context, s store.TaskQueue, queue string, paused bool) error) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{Store: s, pause: func(ctx context.Context, queue string, paused bool) error {
			return pause(ctx, tasksOf(s), queue, paused)
		}}
	}
}

// onQueues breaks what queues tell.
func onQueues(change func(list []store.QueueState) []store.QueueState) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{Store: s, queues: func(ctx context.Context) ([]store.QueueState, error) {
			list, err := tasksOf(s).Queues(ctx)
			return change(list), err
		}}
	}
}

func queueMutants() []mutant {
	return []mutant{
		{
			name: "plans are not looked at by who takes", cases: []string{"TasksOfOtherPlansAreLeftAlone"},
			wrap: onTake(func(s store.TaskQueue, t *store.Take) { t.Plans = allPlans(s) }),
		},
		{
			name: "one task of a workflow after the other is taken", cases: []string{"WorkflowsTakeTurns"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, take: func(ctx context.Context, t store.Take) ([]store.Taken, time.Duration, error) {
					plans := t.Plans
					var list []store.Taken
					for _, p := range plans {
						if len(list) == t.Limit {
							break
						}
						ask := t
						ask.Plans, ask.Limit = []store.PlanID{p}, t.Limit-len(list)
						more, _, err := tasksOf(s).Take(ctx, ask)
						if err != nil {
							return nil, 0, err
						}
						list = append(list, more...)
					}
					return list, 0, nil
				}}
			},
		},
		{name: "a queue has no pace", cases: []string{"PaceSpacesTasks"}, wrap: onTake(func(_ store.TaskQueue, t *store.Take) { t.Pace = 0 })},
		{
			name: "a pace is one of each call", cases: []string{"PaceSpacesTasks"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, take: func(ctx context.Context, t store.Take) ([]store.Taken, time.Duration, error) {
					pause := t.Pace
					if t.Pace > 0 {
						t.Limit, t.Pace = 1, 0
					}
					list, _, err := tasksOf(s).Take(ctx, t)
					return list, pause, err
				}}
			},
		},
		{
			name: "nobody is told of the pace", cases: []string{"PaceSpacesTasks"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, take: func(ctx context.Context, t store.Take) ([]store.Taken, time.Duration, error) {
					list, _, err := tasksOf(s).Take(ctx, t)
					return list, 0, err
				}}
			},
		},
		{
			name: "nothing is paused", cases: []string{"PausedQueueGivesNothing", "QueuesTellWhatTheyHave"},
			wrap: onPause(func(ctx context.Context, _ store.TaskQueue, _ string, _ bool) error { return ctx.Err() }),
		},
		{
			name: "a queue without tasks is not paused", cases: []string{"PausedQueueGivesNothing", "QueuesTellWhatTheyHave"},
			wrap: onPause(func(ctx context.Context, s store.TaskQueue, queue string, paused bool) error {
				list, err := s.Queues(ctx)
				if err == nil && slices.ContainsFunc(list, func(q store.QueueState) bool { return q.Name == queue }) {
					err = s.Pause(ctx, queue, paused)
				}
				return err
			}),
		},
		{
			name: "what is paused never goes on", cases: []string{"PausedQueueGivesNothing", "QueuesTellWhatTheyHave"},
			wrap: onPause(func(ctx context.Context, s store.TaskQueue, queue string, _ bool) error {
				return s.Pause(ctx, queue, true)
			}),
		},
		{
			name: "what is done counts as waiting", cases: []string{"QueuesTellWhatTheyHave"},
			wrap: onQueues(func(list []store.QueueState) []store.QueueState {
				for i := range list {
					list[i].Waiting, list[i].Doing = list[i].Waiting+list[i].Doing, 0
				}
				return list
			}),
		},
		{
			name: "queues have no order", cases: []string{"QueuesTellWhatTheyHave"},
			wrap: onQueues(func(list []store.QueueState) []store.QueueState { slices.Reverse(list); return list }),
		},
	}
}
