package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// onTake breaks what is asked for.
func onTake(change func(s store.TaskQueue, t *store.Take)) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{Store: s, take: func(ctx context.Context, t store.Take) ([]store.Taken, time.Duration, error) {
			change(tasksOf(s), &t)
			return tasksOf(s).Take(ctx, t)
		}}
	}
}

// onTaken breaks what is answered.
func onTaken(change func(list []store.Taken) []store.Taken) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{Store: s, take: func(ctx context.Context, t store.Take) ([]store.Taken, time.Duration, error) {
			list, pause, err := tasksOf(s).Take(ctx, t)
			return change(list), pause, err
		}}
	}
}

// onFinish breaks the end of a task.
func onFinish(end func(ctx context.Context, s store.TaskQueue, i store.Instance, t store.TaskHeld, m store.Message) error) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{Store: s, endTask: func(ctx context.Context, i store.Instance, t store.TaskHeld, m store.Message) error {
			return end(ctx, tasksOf(s), i, t, m)
		}}
	}
}

// onTasks breaks the tasks of what is created and written.
func onTasks(change func(list []store.Task) []store.Task) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return onCreate(func(x *store.Snapshot) { x.Tasks = change(slices.Clone(x.Tasks)) })(
			onWrite(func(_ store.Store, w *store.Write) { w.Tasks = change(slices.Clone(w.Tasks)) })(s))
	}
}

func taskMutants() []mutant {
	return slices.Concat(takeMutants(), queueMutants(), taskEndMutants(), taskLeaseMutants())
}

func takeMutants() []mutant {
	var none []store.Task
	return []mutant{
		{
			name: "an execution is created without its tasks", cases: []string{"TaskOfACreateIsTaken", "TasksGoWithTheirExecution"},
			wrap: onCreate(func(x *store.Snapshot) { x.Tasks = nil }),
		},
		{
			name: "a write is without its tasks", cases: []string{"TaskOfAWriteIsTaken", "WatchTellsOfTasks"},
			wrap: onWrite(func(_ store.Store, w *store.Write) { w.Tasks = none }),
		},
		{
			name: "a refused write drops tasks", cases: []string{"TaskOfAWriteIsTaken"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, commit: func(ctx context.Context, w store.Write) error {
					err := one(ctx, s, w)
					if fenced, ok := errors.AsType[*store.FencedError](err); ok && len(w.Dropped) > 0 {
						if x, lerr := s.Load(ctx, w.Key); lerr == nil {
							_ = one(ctx, s, store.Write{Key: w.Key, Fence: fenced.Found, Head: x.Head, Dropped: w.Dropped})
						}
					}
					return err
				}}
			},
		},
		{
			name: "a loaded execution is without its tasks", cases: []string{"TaskOfACreateIsTaken", "FinishEndsAndDelivers"},
			wrap: onLoad(func(x *store.Snapshot) { x.Tasks = nil }),
		},
		{
			name: "whoever takes puts back what others do", cases: []string{"TakenIsNobodyElses", "LeaseKeepsTheTask"},
			wrap: givingTwice,
		},
		{
			name: "tasks have no priority", cases: []string{"HigherPriorityGoesFirst", "TaskOfACreateIsTaken"},
			wrap: onTasks(func(list []store.Task) []store.Task {
				for i := range list {
					list[i].Priority = 0
				}
				return list
			}),
		},
		{
			name: "tasks are added from the last to the first", cases: []string{"HigherPriorityGoesFirst"},
			wrap: onTasks(func(list []store.Task) []store.Task { slices.Reverse(list); return list }),
		},
		{name: "no limit is no bound", cases: []string{"HigherPriorityGoesFirst"}, wrap: onTake(func(_ store.TaskQueue, t *store.Take) { t.Limit += 100 })},
		{
			name: "tasks may be taken before their time", cases: []string{"NotBeforeIsHeeded"},
			wrap: onTasks(func(list []store.Task) []store.Task {
				for i := range list {
					list[i].NotBefore = time.Time{}
				}
				return list
			}),
		},
		{
			name: "tasks that have a time never come", cases: []string{"NotBeforeIsHeeded", "WatchTellsOfTasks"},
			wrap: onTasks(func(list []store.Task) []store.Task {
				for i := range list {
					if !list[i].NotBefore.IsZero() {
						list[i].NotBefore = list[i].NotBefore.AddDate(1, 0, 0)
					}
				}
				return list
			}),
		},
		{name: "a queue has no bound", cases: []string{"MostBoundsAllInstances"}, wrap: onTake(func(_ store.TaskQueue, t *store.Take) { t.Most = 0 })},
		{
			name: "a bound is one of each call", cases: []string{"MostBoundsAllInstances"},
			wrap: onTake(func(_ store.TaskQueue, t *store.Take) {
				if t.Most > 0 {
					t.Limit, t.Most = min(t.Limit, t.Most), 0
				}
			}),
		},
		{
			name: "a repeated take is another", cases: []string{"TakeRepeatedReturnsTheSame"},
			wrap: onTake(func(_ store.TaskQueue, t *store.Take) { t.ID = 0 }),
		},
		{
			name: "all takes are one", cases: []string{"TakeRepeatedReturnsTheSame", "TakenIsNobodyElses"},
			wrap: onTake(func(_ store.TaskQueue, t *store.Take) { t.ID = 1 }),
		},
		{
			name: "a take gives a lease", cases: []string{"TakeNeedsALease"},
			wrap: onTake(func(s store.TaskQueue, t *store.Take) { _ = s.Heartbeat(context.Background(), t.Instance, forLong) }),
		},
		{name: "all queues are one", cases: []string{"TaskOfAWriteIsTaken", "AddedAgainTakesThePlace"}, wrap: func(s store.Store) store.Store {
			f, _ := onTasks(func(list []store.Task) []store.Task {
				for i := range list {
					list[i].Queue = "q"
				}
				return list
			})(s).(*faulty)
			f.take = func(ctx context.Context, t store.Take) ([]store.Taken, time.Duration, error) {
				t.Queue = "q"
				return tasksOf(s).Take(ctx, t)
			}
			return f
		}},
	}
}

// givingTwice puts back what others do before an instance takes something.
func givingTwice(s store.Store) store.Store {
	var mu sync.Mutex
	done := map[store.TaskHeld]store.Instance{}
	return &faulty{Store: s, take: func(ctx context.Context, t store.Take) ([]store.Taken, time.Duration, error) {
		mu.Lock()
		defer mu.Unlock()
		for held, i := range done {
			if i != t.Instance {
				_ = tasksOf(s).PutBack(ctx, i, []store.TaskHeld{held})
				delete(done, held)
			}
		}
		list, pause, err := tasksOf(s).Take(ctx, t)
		for i := range list {
			done[list[i].Held()] = t.Instance
		}
		return list, pause, err
	}}
}

func taskEndMutants() []mutant {
	return []mutant{
		{
			name: "the end of a task says nothing", cases: []string{"FinishEndsAndDelivers", "FinishIsWhole"},
			wrap: onFinish(func(ctx context.Context, s store.TaskQueue, i store.Instance, t store.TaskHeld, m store.Message) error {
				if err := s.Finish(ctx, i, t, m); err != nil {
					return err
				}
				if x, err := s.Load(ctx, t.Key); err == nil {
					_ = one(ctx, s, store.Write{Key: x.Key, Fence: x.Fence, Head: x.Head, Consumed: []string{m.ID}})
				}
				return nil
			}),
		},
		{
			name: "the result for an execution that nobody drives is lost", cases: []string{"FinishMakesClaimable"},
			wrap: onFinish(func(ctx context.Context, s store.TaskQueue, i store.Instance, t store.TaskHeld, m store.Message) error {
				if x, err := s.Load(ctx, t.Key); err == nil && x.Owner.None() {
					return nil
				}
				return s.Finish(ctx, i, t, m)
			}),
		},
		{
			name: "a task that has ended is put back", cases: []string{"FinishEndsAndDelivers", "NeverTwoDoers"},
			wrap: onFinish(func(ctx context.Context, s store.TaskQueue, i store.Instance, t store.TaskHeld, m store.Message) error {
				if err := s.Deliver(ctx, t.Key, m); err != nil {
					return err
				}
				return s.PutBack(ctx, i, []store.TaskHeld{t})
			}),
		},
		{
			name: "the message comes after the end", cases: []string{"FinishIsWhole"},
			wrap: onFinish(func(ctx context.Context, s store.TaskQueue, i store.Instance, t store.TaskHeld, m store.Message) error {
				x, err := s.Load(ctx, t.Key)
				if err != nil {
					return err
				}
				if err := one(ctx, s, store.Write{Key: x.Key, Fence: x.Fence, Head: x.Head, Dropped: []string{t.ID}}); err != nil {
					return err
				}
				time.Sleep(time.Millisecond)
				return s.Deliver(ctx, t.Key, m)
			}),
		},
		{
			name: "a repeated end is a task that is lost", cases: []string{"FinishedAgainIsDoneUntilConsumed"},
			wrap: onFinish(func(ctx context.Context, s store.TaskQueue, i store.Instance, t store.TaskHeld, m store.Message) error {
				if x, err := s.Load(ctx, t.Key); err == nil && slices.ContainsFunc(x.Inbox, func(o store.Message) bool { return o.ID == m.ID }) {
					return &store.TaskLostError{Task: t, Instance: i}
				}
				return s.Finish(ctx, i, t, m)
			}),
		},
		{
			name: "whoever finishes a task that is lost delivers", cases: []string{
				"FinishNeedsTheTask", "FinishedAgainIsDoneUntilConsumed", "LapsedDoersTaskIsTaken", "DroppedIsGone", "EndPutsTasksBack",
			},
			wrap: onFinish(func(ctx context.Context, s store.TaskQueue, i store.Instance, t store.TaskHeld, m store.Message) error {
				if err := s.Finish(ctx, i, t, m); !errors.Is(err, store.ErrTaskLost) {
					return err
				}
				return s.Deliver(ctx, t.Key, m)
			}),
		},
		{
			name: "a write drops nothing", cases: []string{"DroppedIsGone", "MostBoundsAllInstances", "WatchTellsWhoDoesWhatIsDropped"},
			wrap: onWrite(func(_ store.Store, w *store.Write) { w.Dropped = nil }),
		},
		{
			name: "a task that is there is not added again", cases: []string{"AddedAgainTakesThePlace"},
			wrap: onWrite(func(s store.Store, w *store.Write) {
				x, err := s.Load(context.Background(), w.Key)
				if err != nil {
					return
				}
				w.Tasks = slices.DeleteFunc(slices.Clone(w.Tasks), func(t store.Task) bool {
					return slices.ContainsFunc(x.Tasks, func(o store.Task) bool { return o.ID == t.ID })
				})
			}),
		},
		{
			name: "tasks are added before others are dropped", cases: []string{"AddedAgainTakesThePlace"},
			wrap: onWrite(func(_ store.Store, w *store.Write) {
				w.Tasks = slices.DeleteFunc(slices.Clone(w.Tasks), func(t store.Task) bool { return slices.Contains(w.Dropped, t.ID) })
			}),
		},
		{
			name: "tasks outlive their execution", cases: []string{"TasksGoWithTheirExecution"},
			wrap: func(s store.Store) store.Store {
				f := &faulty{Store: s}
				f.forget = func(ctx context.Context, _ store.Key, _ string) error { return ctx.Err() }
				return f
			},
		},
	}
}

func taskLeaseMutants() []mutant {
	return []mutant{
		{
			name: "a task is its doer's for good", cases: []string{"LapsedDoersTaskIsTaken", "EndPutsTasksBack"},
			wrap: onTaken(func([]store.Taken) []store.Taken { return nil }),
		},
		{
			name: "nobody is unclean", cases: []string{"LapsedDoersTaskIsTaken"},
			wrap: onTaken(func(list []store.Taken) []store.Taken {
				for i := range list {
					list[i].Unclean = false
				}
				return list
			}),
		},
		{
			name: "all are unclean", cases: []string{"EndPutsTasksBack", "PutBackIsTakenAtOnce", "TaskOfACreateIsTaken"},
			wrap: onTaken(func(list []store.Taken) []store.Taken {
				for i := range list {
					list[i].Unclean = true
				}
				return list
			}),
		},
		{
			name: "who puts back puts back nothing", cases: []string{"PutBackIsTakenAtOnce", "MostBoundsAllInstances", "FinishNeedsTheTask"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, putBack: func(ctx context.Context, _ store.Instance, _ []store.TaskHeld) error { return ctx.Err() }}
			},
		},
		{
			name: "a store that is opened again has no tasks", cases: []string{"ReopenedHasTasks"},
			subject: func(s *Subject) {
				s.Reopen = func(_ testing.TB, old store.Store) store.Store {
					return keptOpen{tasksOf(onLoad(func(x *store.Snapshot) { x.Tasks = nil })(old))}
				}
			},
		},
		{
			name: "nobody is told of tasks", cases: []string{"WatchTellsOfTasks"},
			wrap: onNotice(func(n store.Notice) bool { return n.Queue == "" }),
		},
		{
			name: "nobody is told of what is dropped", cases: []string{"WatchTellsWhoDoesWhatIsDropped"},
			wrap: onNotice(func(n store.Notice) bool { return n.Dropped == store.TaskHeld{} }),
		},
	}
}
