package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// queueCases say which tasks of a queue are given, and what a queue tells of itself.
func queueCases() []storeCase {
	return []storeCase{
		{
			name: "TasksOfOtherPlansAreLeftAlone", tasks: true,
			rule: "tasks are taken of executions of the asked plans alone, and those of others are in nobody's way, however many there are and whatever their priority",
			why:  "I10: an instance calls no step of a plan that it does not have; I8: an old version's tasks would stop those of the new one",
			run:  otherPlansTasksAreLeftAlone,
		},
		{
			name: "WorkflowsTakeTurns", tasks: true,
			rule: "of one priority workflows take turns, however many tasks each has, one that comes later among them, and one whose tasks come one by one; a higher priority goes before",
			why:  "I8: a workflow with many tasks does not keep the others waiting",
			run:  workflowsTakeTurns,
		},
		{
			name: "PaceSpacesTasks", tasks: true,
			rule: "between two tasks that are taken at a pace there is at least that time, over all instances, and who is given none for that alone is told how long it is until then",
			why:  "a queue protects what cannot bear more",
			run:  paceSpacesTasks,
		},
		{
			name: "PausedQueueGivesNothing", tasks: true,
			rule: "a queue that is paused gives no tasks, also when it was paused before it had any; what is being done goes on; when it goes on it gives them, and an instance is told",
			why:  "an operator stops what does harm, and loses nothing",
			run:  pausedQueueGivesNothing,
		},
		{
			name: "QueuesTellWhatTheyHave", tasks: true,
			rule: "each queue with tasks, or paused, tells how many wait, how many are to come and how many are done, in the order of the names; others are not there",
			why:  "an operator sees what a queue waits for",
			run:  queuesTellWhatTheyHave,
		},
	}
}

func ofWorkflow(name string) func(x *store.Snapshot) {
	return ofPlan(store.PlanID{Workflow: name, Fingerprint: "f"})
}

// takingOf is taking for some workflows.
func (r *rig) takingOf(queue string, limit int, workflows ...string) store.Take {
	ask := r.taking(r.me, queue)
	ask.Limit, ask.Plans = limit, nil
	for _, w := range workflows {
		ask.Plans = append(ask.Plans, store.PlanID{Workflow: w, Fingerprint: "f"})
	}
	return ask
}

func otherPlansTasksAreLeftAlone(r *rig) {
	old := store.PlanID{Workflow: thePlan.Workflow, Fingerprint: "old"}
	for i := range 60 {
		t := task(fmt.Sprint("old ", i), "q")
		t.Priority = 5
		r.make(fmt.Sprint("old ", i), ofPlan(old), withTasks(t))
	}
	r.make("other", ofWorkflow("other"), withTasks(task("other", "q")))
	r.make("new", withTasks(task("new", "q")))
	r.wantTaken("of one plan", r.taking(r.me, "q"), "new")
	ask := r.taking(r.me, "q")
	ask.Plans = nil
	r.wantTaken("of no plan", ask)
	ask = r.takingOf("q", 100, "other", "another")
	r.wantTaken("of two others", ask, "other")
	ask.ID, ask.Plans = r.id(), []store.PlanID{old}
	if list := r.take(ask); len(list) != 60 {
		r.Errorf("of the old one: took %d, want 60", len(list))
	}
}

func workflowsTakeTurns(r *rig) {
	named := func(prefix string, n int) (list []store.Task) {
		for i := range n {
			list = append(list, task(fmt.Sprint(prefix, i), "q"))
		}
		return list
	}
	r.make("a", ofWorkflow("a"), withTasks(named("a", 30)...))
	r.make("b", ofWorkflow("b"), withTasks(named("b", 4)...))
	counts := func(what string, limit int, want string) {
		r.Helper()
		got := map[byte]int{}
		for _, t := range r.take(r.takingOf("q", limit, "a", "b", "c", "d")) {
			got[t.ID[0]]++
		}
		var list []string
		for w, n := range got {
			list = append(list, fmt.Sprintf("%c%d", w, n))
		}
		if slices.Sort(list); strings.Join(list, " ") != want {
			r.Errorf("%s: took %s, want %s", what, strings.Join(list, " "), want)
		}
	}
	counts("of two", 4, "a2 b2")
	r.make("c", ofWorkflow("c"), withTasks(named("c", 2)...))
	counts("when a third has come", 6, "a2 b2 c2")
	counts("when the others have none left", 2, "a2")
	for i := range 3 { // it never has more than one
		r.make(fmt.Sprint("d", i), ofWorkflow("d"), withTasks(task(fmt.Sprint("d", i), "q")))
		counts("when one comes after the other", 2, "a1 d1")
	}
	urgent := task("d9", "q")
	urgent.Priority = 1
	r.make("d9", ofWorkflow("d"), withTasks(urgent))
	counts("of a higher priority", 1, "d1")
}

func paceSpacesTasks(r *rig) {
	other := r.instance("other")
	r.make("x", withTasks(task("a", "q"), task("b", "q"), task("c", "q")))
	pace := r.lease()
	ask := func(i store.Instance, pace time.Duration) ([]store.Taken, time.Duration, time.Time) {
		r.Helper()
		t := r.taking(i, "q")
		t.Pace = pace
		list, pause, err := r.queue().Take(r.ctx, t)
		if err != nil {
			r.Fatalf("Take at a pace: %v", err)
		}
		return list, pause, r.now()
	}
	before := r.now()
	list, pause, _ := ask(r.me, pace)
	if len(list) != 1 || pause <= 0 || pause > pace {
		r.Fatalf("took %d at a pace, and a pause of %s; want one, and one of %s at most", len(list), pause, pace)
	}
	list, pause, at := ask(other, pace)
	if at.Before(before.Add(pace)) && (len(list) > 0 || pause <= 0 || pause > pace) {
		r.Fatalf("another instance took %d within the pace, and a pause of %s; want none, and one of %s at most", len(list), pause, pace)
	}
	if len(list) == 0 {
		r.pass(pause + pollInterval)
		if list, _, _ = ask(other, pace); len(list) != 1 {
			r.Fatalf("took %d after the pause, want one", len(list))
		}
	}
	r.wantTaken("without a pace", r.taking(r.me, "q"), "c")
	if list, pause, _ := ask(r.me, pace); len(list) > 0 || pause != 0 {
		r.Errorf("took %d of an empty queue, and a pause of %s", len(list), pause)
	}
}

func pausedQueueGivesNothing(r *rig) {
	pause := func(queue string, on bool) {
		r.Helper()
		if err := r.queue().Pause(r.ctx, queue, on); err != nil {
			r.Fatalf("Pause of %q, %t: %v", queue, on, err)
		}
	}
	l := r.listen(r.me)
	x := r.make("x", withTasks(task("a", "q"), task("b", "q"), task("other", "other")))
	ask := r.taking(r.me, "q")
	ask.Limit = 1
	a := r.wantTaken("before", ask, "a")[0]
	pause("q", true)
	r.wantTaken("paused", r.taking(r.me, "q"))
	r.wantTaken("another queue", r.taking(r.me, "other"), "other")
	r.finishTask(r.me, a, "m")
	r.wantInbox("what was done", x.Key, "m")
	pause("empty", true)
	w := r.write(r.load(x.Key))
	w.Tasks = []store.Task{task("c", "empty")}
	r.put(w)
	r.wantTaken("paused when it was empty", r.taking(r.me, "empty"))
	before := l.count(store.Notice{Queue: "q"})
	pause("q", false)
	r.eventually("told that it goes on", func() (bool, string) { return l.count(store.Notice{Queue: "q"}) > before, l.text() })
	r.wantTaken("when it goes on", r.taking(r.me, "q"), "b")
	pause("empty", false)
	r.wantTaken("when the other goes on", r.taking(r.me, "empty"), "c")
}

func queuesTellWhatTheyHave(r *rig) {
	want := func(what string, want ...store.QueueState) {
		r.Helper()
		got, err := r.queue().Queues(r.ctx)
		if err != nil || !slices.Equal(got, want) {
			r.Errorf("%s: %+v, %v; want %+v", what, got, err, want)
		}
	}
	want("at the beginning")
	later := task("later", "b")
	later.NotBefore = r.now().Add(time.Hour)
	r.make("x", withTasks(task("1", "b"), task("2", "b"), task("3", "b"), later, task("1 of a", "a")))
	r.make("y", ofWorkflow("another"), withTasks(task("4", "b")))
	ask := r.taking(r.me, "b")
	ask.Limit = 1
	one := r.take(ask)[0]
	if err := r.queue().Pause(r.ctx, "\xff paused", true); err != nil {
		r.Fatal(err)
	}
	want("with tasks", store.QueueState{Name: "a", Waiting: 1}, store.QueueState{Name: "b", Waiting: 3, Later: 1, Doing: 1}, store.QueueState{Name: "\xff paused", Paused: true})
	r.finishTask(r.me, one, "m")
	if err := r.queue().Pause(r.ctx, "\xff paused", false); err != nil {
		r.Fatal(err)
	}
	want("after that", store.QueueState{Name: "a", Waiting: 1}, store.QueueState{Name: "b", Waiting: 3, Later: 1})
}
