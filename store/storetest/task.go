package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// taskCases are for stores that keep tasks.
func taskCases() []storeCase {
	return slices.Concat(takeCases(), queueCases(), taskEndCases(), taskLeaseCases(), taskWatchCases())
}

func takeCases() []storeCase {
	return []storeCase{
		{
			name: "TaskOfACreateIsTaken", tasks: true,
			rule: "a task that is added with an execution is there, and is taken as it was given, with its execution and the attempt 1",
			why:  "I3: a task is part of the write that it follows from, and of the first as well",
			run: func(r *rig) {
				given := store.Task{ID: "t\xff", Queue: "q", Priority: -3, NotBefore: r.now().Add(-time.Hour).UTC().Round(0), Data: []byte{0, 255}}
				x := r.make("x", withTasks(given))
				if got := fmt.Sprint(x.Tasks); got != fmt.Sprint([]store.Task{given}) {
					r.Errorf("loaded with the tasks %s, want %v", got, given)
				}
				list := r.take(r.taking(r.me, "q"))
				want := store.Taken{Task: given, Key: x.Key, RunUID: x.RunUID, Attempt: 1}
				if len(list) != 1 || fmt.Sprint(list[0]) != fmt.Sprint(want) {
					r.Errorf("took %v, want %v", list, want)
				}
			},
		},
		{
			name: "TaskOfAWriteIsTaken", tasks: true,
			rule: "a write adds its tasks, and one that is refused adds and drops none",
			why:  "I3: a task is part of the write that it follows from; I2: of a stale owner's there is nothing",
			run: func(r *rig) {
				x := r.make("x", withTasks(task("stays", "q")))
				stale := x.Fence
				x = r.put(r.write(x))
				w := r.write(x)
				w.Fence, w.Tasks, w.Dropped = stale, []store.Task{task("refused", "q")}, []string{"stays"}
				r.wantFenced("with a task", w)
				w = r.write(x)
				w.Tasks = []store.Task{task("added", "q"), task("too", "other")}
				r.put(w)
				r.wantTaken("after the writes", r.taking(r.me, "q"), "stays", "added")
				r.wantTaken("of another queue", r.taking(r.me, "other"), "too")
			},
		},
		{
			name: "TakenIsNobodyElses", tasks: true,
			rule: "a task that an instance does is given to nobody",
			why:  "I1: a step's body is not called by two instances at a time",
			run: func(r *rig) {
				r.make("x", withTasks(task("a", "q"), task("b", "q")))
				r.wantTaken("first", r.taking(r.me, "q"), "a", "b")
				r.wantTaken("after that", r.taking(r.instance("other"), "q"))
				r.wantTaken("again", r.taking(r.me, "q"))
			},
		},
		{
			name: "HigherPriorityGoesFirst", tasks: true,
			rule: "tasks are taken by priority, the higher first, and those of one priority as they were added; the limit bounds how many",
			why:  "what is urgent does not wait behind what is not, and nothing of one kind waits for ever",
			run: func(r *rig) {
				prior := func(id string, p int) store.Task { t := task(id, "q"); t.Priority = p; return t }
				r.make("x", withTasks(prior("z", 0), prior("low", -1), prior("a", 0)))
				r.make("y", withTasks(prior("top", 7), prior("last", 0)))
				ask := r.taking(r.me, "q")
				ask.Limit = 3
				r.wantTaken("of five", ask, "top", "z", "a")
				ask = r.taking(r.me, "q")
				ask.Limit = 0
				r.wantTaken("without a limit", ask, "last")
				r.wantTaken("at the end", r.taking(r.me, "q"), "low")
			},
		},
		{
			name: "NotBeforeIsHeeded", tasks: true,
			rule: "a task is taken from its time on, and not before",
			why:  "I8: a retry comes when it is due",
			run: func(r *rig) {
				soon := task("soon", "q")
				soon.NotBefore = r.now().Add(r.short())
				r.make("x", withTasks(soon, task("now", "q")))
				r.wantTaken("before its time", r.taking(r.me, "q"), "now")
				r.pass(soon.NotBefore.Sub(r.now()) + pollInterval)
				r.wantTaken("after it", r.taking(r.me, "q"), "soon")
			},
		},
		{
			name: "MostBoundsAllInstances", tasks: true,
			rule: "of a queue with a bound no more tasks are done at a time, over all instances, and another is given when one has ended or was put back",
			why:  "a queue protects what cannot bear more",
			run:  mostBoundsAll,
		},
		{
			name: "TakeRepeatedReturnsTheSame", tasks: true,
			rule: "a call that is repeated returns what it has taken, as far as the instance does it still; another call does not",
			why:  "I8: a task whose taking got no answer is not lost until the lease ends",
			run: func(r *rig) {
				r.make("x", withTasks(task("a", "q"), task("b", "q"), task("c", "q")))
				ask := r.taking(r.me, "q")
				ask.Limit = 2
				first := r.wantTaken("first", ask, "a", "b")
				r.wantTaken("again", ask, "a", "b")
				r.finishTask(r.me, first[0], "m")
				r.wantTaken("when one was done", ask, "b", "c")
				r.wantTaken("another call", r.taking(r.me, "q"))
			},
		},
		{
			name: "TakeNeedsALease", tasks: true,
			rule: "an instance without a lease takes nothing",
			why:  "I1: nobody would know when to give its tasks to others",
			run: func(r *rig) {
				r.make("x", withTasks(task("a", "q")))
				gone := r.instance("gone")
				r.end(gone)
				for _, i := range []store.Instance{r.unleased("never"), gone, {}} {
					if list, _, err := r.queue().Take(r.ctx, r.taking(i, "q")); !errors.Is(err, store.ErrInstance) {
						r.Errorf("%s took %v, %v; want %v", i, list, err, store.ErrInstance)
					}
				}
				r.wantTaken("then", r.taking(r.me, "q"), "a")
			},
		},
	}
}

// task is a task about which a case says nothing more.
func task(id, queue string) store.Task {
	return store.Task{ID: id, Queue: queue, Data: []byte("do " + id)}
}

func withTasks(list ...store.Task) func(x *store.Snapshot) {
	return func(x *store.Snapshot) { x.Tasks = list }
}

// queue is the store of a case for stores that keep tasks.
func (r *rig) queue() store.TaskQueue {
	q, ok := r.s.(store.TaskQueue)
	if !ok {
		r.Fatalf("%T is no store.TaskQueue", r.s)
	}
	return q
}

// taking asks for more than there are.
func (r *rig) taking(i store.Instance, queue string) store.Take {
	return store.Take{Instance: i, ID: r.id(), Queue: queue, Plans: []store.PlanID{thePlan}, Limit: 100}
}

func (r *rig) take(t store.Take) []store.Taken {
	r.Helper()
	list, pause, err := r.queue().Take(r.ctx, t)
	if err != nil || pause != 0 && t.Pace == 0 {
		r.Fatalf("Take of %q by %s: a pause of %s, %v", t.Queue, t.Instance, pause, err)
	}
	return list
}

// wantTaken expects tasks with the ids, in order.
func (r *rig) wantTaken(what string, t store.Take, want ...string) []store.Taken {
	r.Helper()
	list := r.take(t)
	var got []string
	for _, x := range list {
		got = append(got, x.ID)
		if string(x.Data) != "do "+x.ID {
			r.Errorf("%s: task %q says %q", what, x.ID, x.Data)
		}
	}
	if !slices.Equal(got, want) {
		r.Fatalf("%s: %s took %q of %q, want %q", what, t.Instance, got, t.Queue, want)
	}
	return list
}

func (r *rig) takeOne(i store.Instance, queue, want string) store.Taken {
	r.Helper()
	return r.wantTaken("one", r.taking(i, queue), want)[0]
}

// endTask has an instance say that a task is done.
func (r *rig) endTask(i store.Instance, t store.Taken, message string) error {
	return r.queue().Finish(r.ctx, i, t.Held(), store.Message{ID: message, Data: []byte("says " + message)})
}

func (r *rig) finishTask(i store.Instance, t store.Taken, message string) {
	r.Helper()
	if err := r.endTask(i, t, message); err != nil {
		r.Fatalf("Finish of %s: %v", t.Held(), err)
	}
}

// wantLost expects that the instance does the task no longer.
func (r *rig) wantLost(what string, i store.Instance, t store.Taken, message string) {
	r.Helper()
	err := r.endTask(i, t, message)
	if lost, ok := errors.AsType[*store.TaskLostError](err); !ok || lost.Task != t.Held() || lost.Instance != i || !errors.Is(err, store.ErrTaskLost) {
		r.Errorf("%s: Finish of %s by %s: %v, want a TaskLostError for it", what, t.Held(), i, err)
	}
}

// wantTasks expects the execution to have tasks with the ids, in their order.
func (r *rig) wantTasks(what string, key store.Key, want ...string) {
	r.Helper()
	var got []string
	for _, t := range r.load(key).Tasks {
		got = append(got, t.ID)
	}
	if !slices.Equal(got, want) {
		r.Errorf("%s: %s has the tasks %q, want %q", what, key, got, want)
	}
}

func mostBoundsAll(r *rig) {
	other := r.instance("other")
	var list []store.Task
	for i := range 9 {
		list = append(list, task(fmt.Sprint(i), "q"))
	}
	x := r.make("x", withTasks(list...))
	bounded := func(i store.Instance, most int) store.Take {
		t := r.taking(i, "q")
		t.Most = most
		return t
	}
	mine := r.wantTaken("up to two", bounded(r.me, 2), "0", "1")
	r.wantTaken("two are done", bounded(other, 2))
	theirs := r.wantTaken("up to three", bounded(other, 3), "2")
	r.finishTask(r.me, mine[0], "m")
	r.wantTaken("one has ended, two are done", bounded(other, 2))
	r.putBack(other, theirs[0])
	r.wantTaken("one was put back", bounded(r.me, 2), "2")
	w := r.write(r.load(x.Key))
	w.Dropped = []string{"1"}
	r.put(w)
	r.wantTaken("one was dropped", bounded(r.me, 2), "3")
	r.wantTaken("without a bound", r.taking(other, "q"), strings.Fields("4 5 6 7 8")...)
}

func (r *rig) putBack(i store.Instance, list ...store.Taken) {
	r.Helper()
	var held []store.TaskHeld
	for _, t := range list {
		held = append(held, t.Held())
	}
	if err := r.queue().PutBack(r.ctx, i, held); err != nil {
		r.Fatalf("PutBack by %s: %v", i, err)
	}
}
