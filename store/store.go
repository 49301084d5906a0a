package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Store keeps executions. All methods may be called concurrently. A store keeps
// copies: what it is given and what it returns belongs to the caller. Bytes are kept
// as they are, nil and empty apart, and times to the nanosecond; they are returned in
// UTC.
//
// An error other than those named here, ctx's among them, means that it is not known
// whether the call took effect; a call whose ctx had ended before it took none. Every
// call may then be repeated: it is answered as the first one would have been, and takes
// effect once. Where that has a limit, the method or its argument says so.
//
// What is kept of one execution is read and written as a whole: nobody sees a part of
// a write. Leases are apart from the executions: only [Store.Create] and [Store.Claim] look
// at them.
//
// An implementation is right when it passes the suite in package storetest.
type Store interface {
	// Describe tells what the store is; it is constant.
	Describe() Info

	// Create adds an execution as it is given, owned by the instance that its fence
	// names, unless there is one with its key; then it changes nothing and returns that
	// one. A new execution has the epoch and revision 1. When the one that is there has
	// the same RunUID, the call is a repetition, and is answered as if there had been
	// none. Where there is none, and the owner is not nobody and has no lease, nothing is
	// added, and [ErrInstance] returned: there may have been one that others have driven
	// to its end since.
	Create(ctx context.Context, x *Snapshot) (existing *Snapshot, err error)

	// Commit makes each of the writes, atomically, and apart from the others; no two
	// are of one execution. It answers for each in turn. The fence of a write must be
	// the execution's: another epoch, owner or revision gets [*FencedError], as does a
	// write that has no owner, and nothing changes. The revision rises by one. The last
	// write sent again, as its fence and ID tell, is answered as done and changes
	// nothing, also when the execution was released or claimed since. [ErrNotFound]
	// means that there is no such execution.
	Commit(ctx context.Context, writes []Write) []error

	// Claim makes the instance the owner of executions that nobody drives, with the
	// next epoch and revision, and returns them as they then are: those that hold locks
	// first, and then the longest due first as far as the store can tell. See [Claim] for
	// which. It returns [ErrInstance] when the instance has no lease.
	Claim(ctx context.Context, c Claim) ([]Claimed, error)

	// Heartbeat gives the instance a lease, or renews it, for the time given, counted
	// from now on the store's clock. An instance whose lease has lapsed, or which was
	// ended, gets [ErrInstance] for good: others may have claimed what it had. So does
	// the instance that is nobody.
	Heartbeat(ctx context.Context, i Instance, lease time.Duration) error

	// Release takes the ownership of executions from the instance, so that others may
	// claim them at once. Epoch and revision stay. What it does not own, or owns under
	// another epoch, is left alone.
	Release(ctx context.Context, i Instance, held []Held) error

	// End ends the instance's lease, releases all that it owns, and puts back the tasks
	// that it does.
	End(ctx context.Context, i Instance) error

	// Deliver adds a message to the inbox of an execution, whatever its state and
	// whoever owns it, unless one with its ID is there. Its fence stays. It returns
	// [ErrNotFound] when there is no such execution.
	Deliver(ctx context.Context, key Key, m Message) error

	// Inbox returns what was delivered to an execution and not consumed, in the order
	// in which it came, or [ErrNotFound].
	Inbox(ctx context.Context, key Key) ([]Message, error)

	// Unread returns the executions that the instance owns and that have messages, in
	// any order: what it knows by itself as long as [Store.Watch] has missed nothing.
	Unread(ctx context.Context, i Instance) ([]Key, error)

	// Load returns an execution, or [ErrNotFound].
	Load(ctx context.Context, key Key) (*Snapshot, error)

	// List returns executions without their cells and inboxes, by CreatedAt, the latest
	// first. Those that are created or deleted between two pages neither repeat nor hide
	// any other. It returns [ErrCursor].
	List(ctx context.Context, q Query) (Page, error)

	// Watch tells an instance what it would else find out by looking: see [Notice]. It
	// calls tell, one notice at a time, until ctx ends, whose error it returns, or the
	// store, with [ErrClosed]. What it tells may come late, twice, or not at all. The
	// store never waits for whoever is told.
	Watch(ctx context.Context, i Instance, tell func(Notice)) error

	// Forget deletes a finished and settled execution, with whatever is in its inbox.
	// It does nothing when there is none of that run, and returns [ErrUnsettled] when it
	// has not finished, or has something to do elsewhere.
	Forget(ctx context.Context, key Key, runUID string) error

	// Close ends the store: every other call that has an error returns [ErrClosed] from
	// then on.
	Close(ctx context.Context) error
}

// Info describes a store.
type Info struct {
	// ID tells this store from every other; it is part of the owner of every
	// lock that an execution takes.
	ID string
	// Durable says that executions outlive the process.
	Durable bool
	// Shared says that instances in several processes may use it.
	Shared bool
}

// Instance is one start of an engine.
type Instance struct {
	// Node is the name that an engine keeps over restarts, where it has one.
	Node string
	// Incarnation tells this start from every other.
	Incarnation string
}

func (i Instance) String() string { return i.Node + "/" + i.Incarnation }

// None says that it is nobody.
func (i Instance) None() bool { return i == Instance{} }

// Write is a change with the fence it was decided under.
type Write struct {
	Key   Key
	Fence Fence // as it was before the write
	// ID tells this write from any other at the same revision.
	ID uint64
	// Head replaces the one that stands.
	Head Head
	// Cells replace those with their ids; of several with one id the last counts. All
	// others stay.
	Cells []Cell
	// Consumed are the IDs of messages that the inbox is rid of, as far as they are
	// there.
	Consumed []string
	// Dropped are the IDs of tasks that the execution is rid of, as far as they are
	// there, whoever does them. Tasks are added after that, each in the place of one with
	// its ID.
	Dropped []string
	Tasks   []Task
	// Release ends the ownership with this write: nobody drives the execution any
	// more, until it is claimed.
	Release bool
}

// Held is an execution that its owner has under an epoch.
type Held struct {
	Key   Key
	Epoch uint64
}

// Claim says who asks, and for what.
//
// An execution may be claimed when there is something to do for it: it has not
// finished, or is unsettled, or has messages. And
//   - nobody owns it, and it is due, or has messages, or was released by
//     [Store.Release] or [Store.End]; a finished one without a DueAt is due at once; or
//   - its owner has no lease; or
//   - its owner is another incarnation of the claiming node, and Predecessors says so; or
//   - its owner is the claiming instance itself, and Keys name it: it does not know what
//     became of a call.
type Claim struct {
	Instance Instance
	// ID tells this claim from every other of the instance. A claim that is repeated
	// returns what the first one has claimed, as long as it was not written or
	// released since, and goes on from there. A claim whose ID is zero is never a
	// repetition.
	ID uint64
	// Plans are what the instance can drive. Others are left alone.
	Plans []PlanID
	// Keys, where there are any, are what is asked for, and nothing else.
	Keys []Key
	// Holders asks for what holds locks, and nothing else, where there are no Keys.
	Holders bool
	// Predecessors says that every other incarnation of the instance's node, which has
	// a name, is known to have ended. A store may end their leases.
	Predecessors bool
	// Limit bounds how many are returned; zero is 100.
	Limit int
}

// PlanID identifies a plan.
type PlanID struct{ Workflow, Fingerprint string }

// Claimed is an execution with its new fence.
type Claimed struct {
	*Snapshot
	// Unclean says that another owner before did not let it go: its process may have
	// died in the midst of something.
	Unclean bool
	// Next says that no instance of a third process has used the store between the owner
	// before and the claiming instance: what the owner's process had in memory alone nobody
	// else has had since. A store that is shared, or not durable, need not tell.
	Next bool
}

// Query selects executions. Its zero value selects all.
type Query struct {
	// Workflow and States select where they are not empty.
	Workflow string
	States   []ExecutionState
	// Since and Until bound CreatedAt; zero is no bound. Until itself is not selected.
	Since, Until time.Time
	// Cursor is where a page of the same query has ended; empty is the beginning.
	Cursor string
	// Limit bounds the page; zero is 100.
	Limit int
}

// Page is a part of a list.
type Page struct {
	Executions []Snapshot
	// Next is the cursor of what follows; empty when there is no more.
	Next string
}

// Notice is something that an instance is told. One of the fields is set.
type Notice struct {
	// Missed says that notices may have been lost: what they would have told is found
	// by [Store.Unread], [Store.Claim] and [Store.Load]. It is told first of all, when
	// the watch has begun, and after that when it is so.
	Missed bool
	// Message is an execution of the instance that something was delivered to.
	Message Key
	// Claimable says that an execution may be claimed.
	Claimable bool
	// Finished is an execution that another instance has driven to its end. Those of its
	// own an instance may be told of, or not.
	Finished Key
	// Queue is one in which there is a task to be taken.
	Queue string
	// Dropped is a task that the instance does and is to do no longer: it was dropped.
	Dropped TaskHeld
}

var (
	// ErrNotFound means that there is no execution with the key.
	ErrNotFound = errors.New("store: no such execution")
	// ErrFenced is matched by [*FencedError].
	ErrFenced = errors.New("store: the writer no longer owns the execution")
	// ErrInstance means that the instance's lease has lapsed, or that it has none.
	ErrInstance = errors.New("store: the instance has no lease")
	// ErrUnsettled means that an execution has not finished, or has something to do
	// elsewhere, and was not deleted.
	ErrUnsettled = errors.New("store: the execution has not finished, or not settled")
	// ErrClosed means that the store was closed.
	ErrClosed = errors.New("store: closed")
	// ErrCursor means that a query's cursor is none that the store has given.
	ErrCursor = errors.New("store: not a cursor of this store")
)

// FencedError tells a writer that its write was refused, and what stands.
type FencedError struct {
	Key          Key
	Wrote, Found Fence
}

func (e *FencedError) Error() string {
	return fmt.Sprintf("store: write to %s refused: owner %q epoch %d revision %d wrote, found owner %q epoch %d revision %d",
		e.Key, e.Wrote.Owner, e.Wrote.Epoch, e.Wrote.Revision, e.Found.Owner, e.Found.Epoch, e.Found.Revision)
}

// Is makes the error match [ErrFenced].
func (e *FencedError) Is(target error) bool { return target == ErrFenced }
