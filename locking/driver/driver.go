// Package driver is the seam between package locking, which people call, and
// the lock providers behind it. Only implementers of a provider need it.
//
// A provider compares holds: an owner, a generation and a token per key. It
// knows nothing of handles, of renewal, or of executions; those live in
// package locking, once for all providers.
//
// An implementation is right when it passes the suite in package lockingtest.
package driver

import (
	"context"
	"log/slog"
	"time"
)

// Provider keeps locks. All methods may be called concurrently. A method
// returns when it has an answer or when ctx ends, whichever is first; it never
// leaves a key taken that its answer does not report.
type Provider interface {
	// Start connects the provider. It is called once, before any other method,
	// and returns an error when the provider cannot serve locks.
	Start(ctx context.Context, env Env) error

	// Describe tells what the provider is. It is constant after Start.
	Describe() Info

	// Acquire takes all keys of the request or none of them.
	//
	// A key is available to a request when nobody holds it, or when the holder
	// has the request's owner and the owner is not [Anonymous]. For a key the
	// owner holds already:
	//   - an equal generation joins: the token stays, the expiry is extended;
	//   - a higher generation takes over: the token is new, and the old hold can
	//     free, extend or write nothing any more;
	//   - a lower generation gets [ErrRevoked], and nothing changes.
	//
	// An expiry is only ever extended: a request with a TTL that ends sooner, or
	// with no TTL at all, leaves the one that stands, and a hold without expiry
	// stays without.
	//
	// When a key is not available Acquire waits as Request.Wait says. It then
	// returns a [*BusyError] (the request does not wait), [ErrTimeout] (the wait
	// was used up), a [*DeadlockError] (waiting any longer is no use) or ctx's
	// error, and the request has left no trace.
	//
	// Requests are served in the order in which they came, over one or many keys:
	// a key that is free while somebody waits for it is not available to those
	// behind, not even when the one ahead still lacks another key. There are two
	// exceptions. A request goes before others by its rank: compensations first,
	// then owners that hold something, then the rest. And a request passes one
	// ahead that waits, over however many others, for what this request's owner
	// holds: else neither could ever go on.
	//
	// A grant that ended a wait may be an offer: see [Granted].Offer.
	Acquire(ctx context.Context, req Request) (Grant, error)

	// Extend gives each hold a new expiry, counted from now; a ttl of zero takes
	// the expiry away. It answers for each hold in turn whether it stands; one
	// whose owner or token is no longer the key's, or that is revoked, is not
	// extended. An expiry is never shortened, but for that of an offer, which
	// becomes a full hold.
	//
	// What is known when ctx ends is answered; Extension.Err says of which holds that
	// is nothing. An error means that nothing is known of any of them.
	Extend(ctx context.Context, ttl time.Duration, holds []Hold) ([]Extension, error)

	// Release frees the holds, each compared by owner and, where the hold has
	// one, by token, and hands their keys to whoever is next, in the same step. It
	// answers for each in turn whether it was freed. An error means that nothing
	// is known of any of them; the call may then be repeated, and a hold that the
	// first call freed may count as freed by the second.
	//
	// When it has answered it keeps nothing of the list, which its caller uses again.
	Release(ctx context.Context, holds []Hold) ([]bool, error)

	// ReleaseAll frees every hold of the owner and says how many there were.
	ReleaseAll(ctx context.Context, owner string) (int, error)

	// Close ends the provider. It frees no lock: what is held lapses by its
	// expiry, or stays for whoever knows its owner.
	Close(ctx context.Context) error
}

// Env is what a provider is told about the service that starts it.
type Env struct {
	// ID is the name the provider was registered under, without the "lp_"
	// prefix; it belongs in log lines and errors.
	ID string
	// Logger is never nil.
	Logger *slog.Logger
	// Notify is told what happens to this process's tickets and holds without a
	// call that asks for it; it may be nil. Events come one after the other, from
	// a goroutine of the provider: Notify must not block, and must not call the
	// provider. An event can come late or twice, never too early.
	Notify func(Event)
}

// Info describes a provider.
type Info struct {
	// DefaultWait is how long a request waits that names no time of its own.
	DefaultWait time.Duration
	// ProcessLocal says that the locks exclude callers of this process only.
	ProcessLocal bool
}

// Anonymous is the owner of a lock that names none. It never joins a hold, so
// two anonymous requests exclude each other.
const Anonymous = "*"

// Token is a fencing token. The tokens of one key strictly rise. Zero is no
// token: in a release it stands for whichever token the owner has.
type Token uint64

// Generation orders the requests of one owner: a later one takes over from an
// earlier one. It is zero outside executions.
type Generation struct {
	Epoch   uint64 // of the execution's owner
	Attempt uint64 // of the step, over invoke and compensate
}

// Compare returns -1, 0 or +1 as g is before, equal to or after other.
func (g Generation) Compare(other Generation) int {
	switch {
	case g.Epoch < other.Epoch, g.Epoch == other.Epoch && g.Attempt < other.Attempt:
		return -1
	case g == other:
		return 0
	}
	return 1
}

// NoWait as a Request's Wait asks not to wait at all.
const NoWait time.Duration = -1

// Rank says who goes first among those that wait for a key.
type Rank uint8

// The ranks of requests. That owners which hold something go before those which
// hold nothing is for the provider to see.
const (
	// Forward is the rank of ordinary requests.
	Forward Rank = iota
	// Compensation ranks before all forward requests, and is never the victim of
	// a deadlock as long as its cycle has another member.
	Compensation
)

// Request asks for all of its keys or none.
type Request struct {
	// Keys are sorted, without duplicates, not empty, and may hold any bytes.
	Keys       []string
	Owner      string
	Generation Generation
	// TTL is the time after which the lock lapses by itself; zero is never.
	TTL time.Duration
	// Wait bounds the waiting; [NoWait] is not at all. Ctx bounds it as well. A
	// ticket's request waits until it is cancelled, whatever stands here.
	Wait time.Duration

	// Rank is the request's place before or behind others.
	Rank Rank
	// Enclosing are owners that give nothing back before this request is answered,
	// such as the enclosing scopes of an execution. The request's own owner need
	// not be among them. They count when deadlocks are looked for.
	Enclosing []string
	// Born orders executions by age, in microseconds of the wall clock; it is zero
	// outside executions. Of a deadlock's members the youngest is the victim.
	Born uint64
}

// Hold is the claim of an owner on one key.
type Hold struct {
	Key        string
	Owner      string
	Generation Generation
	Token      Token
}

// Grant answers a request: one hold for each of its keys, in their order.
type Grant struct {
	Holds []Granted
}

// Granted is a hold and what is known of its end.
type Granted struct {
	Hold
	// Joined says that the owner held the key before, in this generation.
	Joined bool
	// Offer says that the hold ends soon, at Until, unless it is extended: Extend
	// gives it the expiry that its request asked for, or none. It can be released
	// like any other. One that lapses goes to the next in line.
	Offer bool
	// Until is the moment, on this process's clocks, before which the hold has
	// surely not lapsed on the server; zero when it does not expire.
	Until time.Time
}

// Extension answers for one hold that was to be extended.
type Extension struct {
	// Held is false when the hold is lost: lapsed, freed, taken or revoked.
	Held bool
	// Revoked says that the key was taken from its holder by force. It is kept
	// from others until the hold is released or lapses.
	Revoked bool
	// Until is as in [Granted].
	Until time.Time
	// Err says that no answer was had for this hold: it may or may not have been
	// extended, and may or may not be lost. It can be extended again. The other fields are
	// zero then. It is this hold's alone: the others have answers, or errors of their own.
	Err error
}
