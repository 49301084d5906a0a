package driver

import "context"

// Queuer is a [Provider] whose queue can be waited in without a goroutine: an
// execution parks there under a ticket, and its process is told when its turn has
// come. A blocking Acquire and a ticket stand in the same queue.
//
// The place of a ticket outlives its process. While that process does not live
// the ticket is passed over; when another one enqueues it again, it is back at
// its old place.
type Queuer interface {
	Provider

	// Enqueue puts a ticket into the queues of all its keys, and returns at once.
	// When the keys are there for the taking, the answer is an offer to it.
	//
	// It is idempotent by the ticket's id: one that is known keeps its place, gets
	// this process as its own, and is answered as it stands. It returns
	// [ErrRevoked] and [*DeadlockError] as Acquire does, and the ticket is then
	// gone.
	Enqueue(ctx context.Context, t Ticket) (Place, error)

	// Claim makes a ticket's offer a full hold, and ends the ticket. It returns
	// [ErrNoOffer] when there is none: the ticket then waits as before, or is
	// unknown. It returns [ErrRevoked] when a later generation has taken the ticket
	// up, or what was offered was taken by force. A claim that is repeated is
	// answered alike while the hold stands.
	Claim(ctx context.Context, t Ticket) (Grant, error)

	// Cancel ends a ticket, and frees what was offered to it or claimed with it.
	// It answers whether there was anything to end; what a later generation has taken
	// up stays.
	Cancel(ctx context.Context, t Ticket) (bool, error)
}

// Ticket is a place in the queue. The same ticket always has the same request,
// but for a generation that may rise when another process goes on with it.
type Ticket struct {
	// ID is the caller's, unique at the provider, not empty, and may hold any
	// bytes.
	ID string
	Request
}

// Place answers for a ticket.
type Place struct {
	// Offered says that Grant has the ticket's keys, as offers to be claimed.
	Offered bool
	Grant   Grant
}

// Event is something that happened to a ticket or a hold of this process.
type Event struct {
	// Verify says that the provider has lost sight of the server for a while: it may
	// have forgotten locks, and an event may have been lost. What this process holds
	// is to be extended now, until there is an answer, to see whether it stands. The rest is
	// then empty.
	Verify bool

	// Ticket is the id of the ticket that the event is about; empty when it is
	// about a hold.
	Ticket string
	// Grant is what is offered to the ticket.
	Grant Grant
	// Err says why the ticket has ended: it matches [ErrRevoked] or [ErrDeadlock].
	Err error

	// Revoked is the hold that was taken from this process by force, where Ticket
	// is empty and Verify is not set. Releasing it lets the key go on.
	Revoked Hold
	// Reason is what the one who took it said.
	Reason string
}
