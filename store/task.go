package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// TaskQueue is a [Store] that keeps tasks: [Write.Tasks] and [Snapshot.Tasks] are for
// stores that implement it. What [Store] says of errors, repetition and concurrency holds
// for its methods as well.
type TaskQueue interface {
	Store

	// Take gives an instance tasks of a queue to do: those that nobody does and whose
	// time has come, those of a higher priority first, of one priority those of each
	// workflow in turn, and of one workflow those first that were added first. What an
	// instance does whose lease has lapsed, nobody does; its tasks keep their places. See
	// [Take]. Where the queue's pace alone is why it gives no more, it says how long it is
	// until the next may be taken. It returns [ErrInstance] when the instance has no lease.
	Take(ctx context.Context, t Take) (list []Taken, pause time.Duration, err error)

	// Finish ends a task that the instance does under the attempt, and adds the message
	// to the inbox of its execution, as [Store.Deliver] does, both or neither. It returns
	// [*TaskLostError] when the instance does not do it under that attempt any more. A
	// repetition is answered as done as long as the message was not consumed; after that
	// it gets [*TaskLostError], too.
	Finish(ctx context.Context, i Instance, t TaskHeld, m Message) error

	// PutBack lets others take tasks that the instance does, at once. What it does not do
	// under that attempt is left alone.
	PutBack(ctx context.Context, i Instance, tasks []TaskHeld) error

	// Pause has a queue give no tasks until it is told to go on, also one in which there
	// never was a task. What is being done goes on.
	Pause(ctx context.Context, queue string, paused bool) error

	// Queues tells of each queue that has tasks or is paused, in the order of their names.
	Queues(ctx context.Context) ([]QueueState, error)
}

// Task is work of an execution that whichever instance serves its queue may do, apart
// from the instance that drives the execution: neither owner nor epoch of the execution
// have a say in who does it, and a new owner finds it as it is.
//
// It is there from the write that adds it until it has its result, or a write drops it, or
// its execution is deleted.
type Task struct {
	// ID tells the task from every other of its execution.
	ID string
	// Queue is what instances serve.
	Queue string
	// Priority says which tasks go first: those with a higher one.
	Priority int
	// NotBefore is when it may be taken; zero is at once.
	NotBefore time.Time
	// Data says what is to be done, as the engine has encoded it.
	Data []byte
}

// Take says who asks for tasks, and for how many.
type Take struct {
	Instance Instance
	// ID tells this call from every other of the instance. One that is repeated returns
	// what the first has taken, as far as the instance does it still, and goes on from
	// there. Zero is never a repetition.
	ID    uint64
	Queue string
	// Plans are what the instance can do. Tasks of other plans' executions are left alone,
	// and are in nobody's way.
	Plans []PlanID
	// Limit bounds how many are returned; zero is 1.
	Limit int
	// Most bounds how many tasks of the queue all instances do at one time; zero is
	// without a bound. A lower bound than that of another call takes none away.
	Most int
	// Pace is the least time between two tasks of the queue that any instances take; zero is
	// without one. It counts from what was taken last, whatever pace that call was made at.
	Pace time.Duration
}

// Taken is a task with the attempt under which the instance does it.
type Taken struct {
	Task

	Key    Key
	RunUID string
	// Attempt rises with every taking of a task of the execution, from 1 on: no two have
	// the same, also where a task takes the place of another.
	Attempt uint64
	// Unclean says that whoever did it before did not put it back: its process may have
	// died in the midst of it.
	Unclean bool
}

// Held names the task as its instance has it.
func (t *Taken) Held() TaskHeld { return TaskHeld{Key: t.Key, ID: t.ID, Attempt: t.Attempt} }

// QueueState tells of a queue.
type QueueState struct {
	Name string
	// Waiting is how many tasks may be taken, or might be were the queue not paused; Later
	// is how many have a time that is still to come, Doing how many are being done.
	Waiting, Later, Doing int
	Paused                bool
}

// TaskHeld is a task that an instance does under an attempt.
type TaskHeld struct {
	Key     Key
	ID      string
	Attempt uint64
}

func (t TaskHeld) String() string {
	return t.Key.String() + "/" + strconv.Quote(t.ID) + " attempt " + strconv.FormatUint(t.Attempt, 10)
}

// ErrTaskLost is matched by [*TaskLostError].
var ErrTaskLost = errors.New("store: the task is not the instance's any more")

// TaskLostError tells an instance that it does not do a task any more: it was dropped,
// another one does it, or it is done.
type TaskLostError struct {
	Task     TaskHeld
	Instance Instance
}

func (e *TaskLostError) Error() string {
	return fmt.Sprintf("store: task %s is not done by %q any more", e.Task, e.Instance)
}

// Is makes the error match [ErrTaskLost].
func (e *TaskLostError) Is(target error) bool { return target == ErrTaskLost }
