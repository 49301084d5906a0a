package storetest

import (
	"github.com/lockstep-dev/lockstep/store"
)

func taskLeaseCases() []storeCase {
	return []storeCase{
		{
			name: "LapsedDoersTaskIsTaken", tasks: true,
			rule: "what an instance does whose lease has lapsed is taken by others, with the next attempt, as unclean, and in its old place; the instance cannot finish it",
			why:  "I8: a task outlives the instance that does it; I1: whose late result changes nothing",
			run: func(r *rig) {
				x := r.make("x", withTasks(task("a", "q"), task("b", "q"), task("c", "q")))
				doer := r.instance("doer")
				ask := r.taking(doer, "q")
				ask.Limit = 1
				a := r.wantTaken("one", ask, "a")[0]
				until := r.shorten(doer)
				ask = r.taking(r.me, "q")
				ask.Limit = 1
				if within := r.take(ask); r.now().Before(until) && (len(within) != 1 || within[0].ID != "b") {
					r.Fatalf("within the lease: took %+v, want b", within)
				}
				r.pass(until.Sub(r.now()) + r.lease() + pollInterval)
				list := r.wantTaken("after the lease", r.taking(r.me, "q"), "a", "c")
				if list[0].Attempt <= a.Attempt || !list[0].Unclean || list[1].Unclean {
					r.Errorf("took %+v; want a with a higher attempt than %d and unclean, c not", list, a.Attempt)
				}
				r.wantLost("the doer before", doer, a, "late")
				r.wantInbox("after that", x.Key)
				r.finishTask(r.me, list[0], "m")
				r.wantInbox("at the end", x.Key, "m")
			},
		},
		{
			name: "LeaseKeepsTheTask", tasks: true,
			rule: "as long as its lease is renewed an instance has its tasks, whatever happens to the owner of the execution, or to its epoch",
			why:  "I1: a new owner of an execution finds its tasks as they are, and nobody does them twice",
			run: func(r *rig) {
				x := r.make("x", withTasks(task("a", "q")))
				doer, other := r.instance("doer"), r.instance("other")
				a := r.takeOne(doer, "q", "a")
				r.end(r.me)
				c := r.claimOne(r.asking(other), x.Key)
				if len(c.Tasks) != 1 || c.Tasks[0].ID != "a" {
					r.Errorf("claimed with the tasks %v", c.Tasks)
				}
				r.wantTaken("after the claim", r.taking(other, "q"))
				r.finishTask(doer, a, "m")
				r.wantInbox("at the end", x.Key, "m")
			},
		},
		{
			name: "EndPutsTasksBack", tasks: true,
			rule: "what an instance does that is ended is taken by others at once, and not as unclean",
			why:  "I8: a clean stop costs nobody the time of a lease",
			run: func(r *rig) {
				r.make("x", withTasks(task("a", "q")))
				doer := r.instance("doer")
				a := r.takeOne(doer, "q", "a")
				r.end(doer)
				again := r.takeOne(r.me, "q", "a")
				if again.Attempt <= a.Attempt || again.Unclean {
					r.Errorf("took %+v; want a higher attempt than %d, not unclean", again, a.Attempt)
				}
				r.wantLost("the doer before", doer, a, "late")
			},
		},
		{
			name: "PutBackIsTakenAtOnce", tasks: true,
			rule: "a task that is put back is taken by others at once, in its old place and not as unclean; what the instance does not do is left alone",
			why:  "I8: an instance that stops serving a queue holds nobody up",
			run: func(r *rig) {
				r.make("x", withTasks(task("a", "q"), task("b", "q"), task("c", "q")))
				other := r.instance("other")
				list := r.wantTaken("all", r.taking(r.me, "q"), "a", "b", "c")
				stale := list[1]
				r.putBack(r.me, list[1], list[0])
				again := r.wantTaken("what was put back", r.taking(other, "q"), "a", "b")
				for _, t := range again {
					if t.Attempt <= list[2].Attempt || t.Unclean {
						r.Errorf("took %+v; want a higher attempt than %d, not unclean", t, list[2].Attempt)
					}
				}
				r.putBack(r.me, stale, again[1])
				r.putBack(other, list[2])
				r.wantTaken("what others do", r.taking(r.instance("third"), "q"))
				r.finishTask(other, again[1], "m")
				r.finishTask(r.me, list[2], "n")
			},
		},
		{
			name: "ReopenedHasTasks", tasks: true, durable: true,
			rule: "a store that is opened again has all tasks, and who does them, as long as their leases last",
			why:  "I8: a task outlives the store's process",
			run: func(r *rig) {
				x := r.make("x", withTasks(task("a", "q"), task("b", "q")))
				ask := r.taking(r.me, "q")
				ask.Limit = 1
				a := r.wantTaken("one", ask, "a")[0]
				r.raw = r.subject.Reopen(r.TB, r.raw)
				r.s = r.seen(r.raw)
				reopened := r.raw
				r.Cleanup(func() { r.close(reopened) })
				r.wantTasks("after it", x.Key, "a", "b")
				r.wantTaken("after it", r.taking(r.instance("other"), "q"), "b")
				r.finishTask(r.me, a, "m")
			},
		},
	}
}

func taskWatchCases() []storeCase {
	return []storeCase{
		{
			name: "WatchTellsOfTasks", tasks: true,
			rule: "an instance is told when there is a task to be taken: one that is added, put back, due, or whose doer's lease has ended",
			why:  "I8: a task is not waited for by looking",
			run: func(r *rig) {
				l := r.listen(r.me)
				x := r.make("x")
				add := func(id string, t store.Task) {
					t.ID = id
					w := r.write(x)
					w.Tasks = []store.Task{t}
					x = r.put(w)
				}
				wantTold := func(what, queue string, act func()) {
					r.Helper()
					act()
					if !r.told(l, store.Notice{Queue: queue}) {
						r.Errorf("%s: not told; heard: %s", what, l.text())
					}
				}
				wantTold("added with an execution", "created", func() { r.make("y", withTasks(task("y", "created"))) })
				wantTold("added", "added", func() { add("1", task("1", "added")) })
				due := task("2", "due")
				due.NotBefore = r.now().Add(2 * pollInterval)
				wantTold("due", "due", func() { add("2", due); r.pass(2 * pollInterval) })
				for queue, end := range map[string]func(doer store.Instance, t store.Taken){
					"put back": func(doer store.Instance, t store.Taken) { r.putBack(doer, t) },
					"ended":    func(doer store.Instance, _ store.Taken) { r.end(doer) },
				} {
					doer := r.instance(queue)
					add(queue, task(queue, queue))
					t := r.takeOne(doer, queue, queue)
					before := l.count(store.Notice{Queue: queue})
					end(doer, t)
					r.eventually("told that a task is "+queue, func() (bool, string) {
						return l.count(store.Notice{Queue: queue}) > before, l.text()
					})
				}
			},
		},
		{
			name: "WatchTellsWhoDoesWhatIsDropped", tasks: true,
			rule: "the instance that does a task is told when it is dropped, and no other",
			why:  "I4: what goes forward is cancelled once its execution compensates",
			run: func(r *rig) {
				doer := r.instance("doer")
				mine, theirs := r.listen(r.me), r.listen(doer)
				x := r.make("x", withTasks(task("a", "q")))
				a := r.takeOne(doer, "q", "a")
				w := r.write(x)
				w.Dropped = []string{"a"}
				r.put(w)
				if n := (store.Notice{Dropped: a.Held()}); !r.told(theirs, n) || mine.has(n) {
					r.Errorf("the doer has heard %s, another instance %s", theirs.text(), mine.text())
				}
			},
		},
	}
}
