package storetest

import (
	"fmt"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

func taskEndCases() []storeCase {
	return []storeCase{
		{
			name: "FinishEndsAndDelivers", tasks: true,
			rule: "a task that is finished is gone, and its message is in the inbox of its execution; epoch and revision stay",
			why:  "I1: a step's result is recorded once, by the owner's next write",
			run: func(r *rig) {
				x := r.make("x", withTasks(task("a", "q"), task("b", "q")))
				list := r.wantTaken("both", r.taking(r.me, "q"), "a", "b")
				r.finishTask(r.me, list[0], "m")
				r.wantTasks("after the first", x.Key, "b")
				r.wantInbox("after the first", x.Key, "m")
				r.wantTaken("after the first", r.taking(r.instance("other"), "q"))
				if got := r.load(x.Key).Fence; got != x.Fence {
					r.Errorf("the fence is %s, and was %s", fenceText(got), fenceText(x.Fence))
				}
			},
		},
		{
			name: "FinishedAgainIsDoneUntilConsumed", tasks: true,
			rule: "Finish that is repeated is answered as done, and its message is there once; when the message was consumed, the task is lost",
			why:  "I1: a result whose storing got no answer is stored once",
			run: func(r *rig) {
				x := r.make("x", withTasks(task("a", "q")))
				a := r.takeOne(r.me, "q", "a")
				for range 3 {
					r.finishTask(r.me, a, "m")
				}
				r.wantInbox("after three", x.Key, "m")
				w := r.write(x)
				w.Consumed = []string{"m"}
				r.put(w)
				r.wantLost("when it was consumed", r.me, a, "m")
				r.wantInbox("at the end", x.Key)
			},
		},
		{
			name: "FinishNeedsTheTask", tasks: true,
			rule: "who does not do a task under its attempt cannot finish it, and delivers nothing",
			why:  "I1: the result of an attempt that another has taken over changes nothing",
			run: func(r *rig) {
				other := r.instance("other")
				x := r.make("x", withTasks(task("a", "q")))
				a := r.takeOne(r.me, "q", "a")
				r.wantLost("another instance", other, a, "m")
				later := a
				later.Attempt++
				r.wantLost("another attempt", r.me, later, "m")
				unknown := a
				unknown.ID = "unknown"
				r.wantLost("another task", r.me, unknown, "m")
				unknown = a
				unknown.Key.ID = "unknown"
				r.wantLost("another execution", r.me, unknown, "m")
				r.putBack(r.me, a)
				r.wantLost("put back", r.me, a, "m")
				again := r.takeOne(other, "q", "a")
				r.wantLost("taken by another", r.me, a, "m")
				r.wantInbox("after those", x.Key)
				r.finishTask(other, again, "m")
				r.wantInbox("at the end", x.Key, "m")
			},
		},
		{
			name: "FinishIsWhole", tasks: true,
			rule: "whoever looks while a task is finished sees the task, or its message, and never both or neither",
			why:  "I8: between the two nobody would have anything to do",
			run:  finishIsWhole,
		},
		{
			name: "FinishMakesClaimable", tasks: true,
			rule: "an execution that nobody drives may be claimed when one of its tasks is finished",
			why:  "I8: a dormant execution goes on with the result",
			run: func(r *rig) {
				x := r.letGo(r.make("x", withTasks(task("a", "q"))), time.Time{})
				other := r.instance("other")
				a := r.takeOne(other, "q", "a")
				r.wantClaimed("while it is done", r.asking(r.me))
				r.finishTask(other, a, "m")
				r.claimOne(r.asking(r.me), x.Key)
			},
		},
		{
			name: "DroppedIsGone", tasks: true,
			rule: "a task that a write drops is gone, whoever does it; a drop of what is not there changes nothing",
			why:  "I4: once an execution compensates, nothing that goes forward is begun, or counts",
			run: func(r *rig) {
				x := r.make("x", withTasks(task("a", "q"), task("b", "q"), task("c", "q")))
				ask := r.taking(r.me, "q")
				ask.Limit = 1
				a := r.wantTaken("one", ask, "a")[0]
				w := r.write(x)
				w.Dropped = []string{"a", "b", "unknown"}
				r.put(w)
				r.wantLost("dropped while it was done", r.me, a, "m")
				r.wantTasks("after the drop", x.Key, "c")
				r.wantInbox("after the drop", x.Key)
				r.wantTaken("after the drop", r.taking(r.instance("other"), "q"), "c")
			},
		},
		{
			name: "AddedAgainTakesThePlace", tasks: true,
			rule: "a task takes the place of one with its ID, whoever does that; in one write, tasks are added after others are dropped",
			why:  "I1: the next attempt of a step is another task than the one before",
			run: func(r *rig) {
				x := r.make("x", withTasks(task("a", "q")))
				first := r.takeOne(r.me, "q", "a")
				w := r.write(x)
				w.Dropped, w.Tasks = []string{"a"}, []store.Task{task("a", "other")}
				x = r.put(w)
				r.wantTasks("dropped and added", x.Key, "a")
				r.wantTaken("of its former queue", r.taking(r.me, "q"))
				w = r.write(x)
				w.Tasks = []store.Task{task("a", "third")}
				x = r.put(w)
				r.wantTaken("of its former queue", r.taking(r.me, "other"))
				r.takeOne(r.me, "third", "a")
				r.wantLost("the first", r.me, first, "m")
				r.wantTasks("at the end", x.Key, "a")
			},
		},
		{
			name: "TasksGoWithTheirExecution", tasks: true,
			rule: "the tasks of an execution that is forgotten are gone",
			why:  "what nobody waits for is not done",
			run: func(r *rig) {
				x := r.make("x", withTasks(task("a", "q"), task("b", "q")))
				ask := r.taking(r.me, "q")
				ask.Limit = 1
				a := r.wantTaken("one", ask, "a")[0]
				r.forget(r.finish(x), nil)
				r.wantTaken("after that", r.taking(r.me, "q"))
				r.wantLost("after that", r.me, a, "m")
			},
		},
		{
			name: "NeverTwoDoers", tasks: true,
			rule: "of tasks that many instances take at once, each is done by one",
			why:  "I1: a step's body is not called by two instances at a time",
			run:  neverTwoDoers,
		},
	}
}

func finishIsWhole(r *rig) {
	for n := range 20 {
		x := r.make(fmt.Sprint("x", n), withTasks(task("a", "q")))
		a := r.takeOne(r.me, "q", "a")
		stop := make(chan struct{})
		var looks sync.WaitGroup
		for range 2 {
			looks.Go(func() {
				for {
					seen, err := r.s.Load(r.ctx, x.Key)
					if err != nil || len(seen.Tasks)+len(seen.Inbox) != 1 {
						r.Errorf("seen with %d tasks and %d messages, %v", len(seen.Tasks), len(seen.Inbox), err)
						return
					}
					select {
					case <-stop:
						return
					default:
					}
				}
			})
		}
		if err := r.endTask(r.me, a, "m"); err != nil {
			r.Errorf("Finish: %v", err)
		}
		close(stop)
		looks.Wait()
	}
}

func neverTwoDoers(r *rig) {
	const doers, each = 6, 20
	var list []store.Task
	for i := range doers * each {
		list = append(list, task(fmt.Sprintf("%03d", i), "q"))
	}
	x := r.make("x", withTasks(list...))
	var mu sync.Mutex
	done := map[string]int{}
	var wg sync.WaitGroup
	for i, s := range r.handles(doers) {
		me := r.instance(fmt.Sprint("doer", i))
		q, _ := s.(store.TaskQueue)
		wg.Go(func() {
			for {
				ask := store.Take{Instance: me, ID: r.id(), Queue: "q", Plans: []store.PlanID{thePlan}, Limit: 3}
				got, _, err := q.Take(r.ctx, ask)
				if err != nil {
					r.Errorf("Take: %v", err)
					return
				}
				if len(got) == 0 {
					return
				}
				for _, t := range got {
					mu.Lock()
					done[t.ID]++
					again := done[t.ID] > 1
					mu.Unlock()
					if again {
						return // which is said below
					}
					if err := q.Finish(r.ctx, me, t.Held(), store.Message{ID: t.ID}); err != nil {
						r.Errorf("Finish of %s: %v", t.Held(), err)
					}
				}
			}
		})
	}
	wg.Wait()
	for id, n := range done {
		if n != 1 {
			r.Errorf("task %s was done by %d", id, n)
		}
	}
	if got := len(r.load(x.Key).Inbox); len(done) != doers*each || got != doers*each {
		r.Errorf("%d tasks were done, and %d messages came, of %d", len(done), got, doers*each)
	}
}
