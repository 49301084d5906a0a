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
	// was used up) or ctx's error, and the request has left no trace.
	Acquire(ctx context.Context, req Request) (Grant, error)

	// Extend gives each hold a new expiry, counted from now. It answers for each
	// hold in turn whether it stands; one whose owner or token is no longer the
	// key's is not extended. An expiry is never shortened. An error means that
	// nothing is known of any of them.
	Extend(ctx context.Context, ttl time.Duration, holds []Hold) ([]Extension, error)

	// Release frees the holds, each compared by owner and, where the hold has
	// one, by token. It answers for each in turn whether it was freed. An error
	// means that nothing is known of any of them.
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

// Request asks for all of its keys or none.
type Request struct {
	// Keys are sorted, without duplicates, not empty, and may hold any bytes.
	Keys       []string
	Owner      string
	Generation Generation
	// TTL is the time after which the lock lapses by itself; zero is never.
	TTL time.Duration
	// Wait bounds the waiting; [NoWait] is not at all. Ctx bounds it as well.
	Wait time.Duration
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
	// Until is the moment, on this process's monotonic clock, before which the
	// hold has surely not lapsed on the server; zero when it does not expire.
	Until time.Time
}

// Extension answers for one hold that was to be extended.
type Extension struct {
	// Held is false when the hold is lost: lapsed, freed, taken or revoked.
	Held bool
	// Until is as in [Granted].
	Until time.Time
}
