package driver

import (
	"context"
	"time"
)

// Inspector is a [Provider] that can be looked into, and whose locks can be taken
// from a holder by force. It is what tools for operators need.
type Inspector interface {
	Provider

	// Inspect tells everything about one key, with at most waiters of those that
	// wait for it.
	Inspect(ctx context.Context, key string, waiters int) (State, error)

	// List returns a page of the keys that are held; it may be empty, and still have
	// a next one. While locks come and go, one that is held all the time is on some
	// page; others may be or not. It never looks through keys that are no locks,
	// unless the request includes foreign ones.
	List(ctx context.Context, req ListRequest) (Page, error)

	// ForceRelease takes a key from its holder, compared by owner and token. It
	// answers whether that holder had it. The key goes on when the holder has
	// released it, which it is told to do, or when its lease has lapsed; with Now
	// at once, whatever the holder may still do. A record of it is kept.
	//
	// The lock of another program has no token, and its holder cannot be told: it
	// is named by its owner and a token of zero, and without Now the answer is
	// [ErrForeign].
	ForceRelease(ctx context.Context, req ForceRequest) (bool, error)

	// Audit returns the newest records of ForceRelease first, at most limit.
	Audit(ctx context.Context, limit int) ([]AuditRecord, error)
}

// State is what is known of a key.
type State struct {
	Key  string
	Held bool

	// The rest of this block is for a key that is held.
	Owner      string
	Generation Generation
	// Token is zero, and Generation and Since are unknown, when Foreign is set:
	// another program has taken the key.
	Token   Token
	Foreign bool
	// Offer says that the holder has been offered the key, and has not yet taken
	// or refused it.
	Offer bool
	// Expires says that the lock lapses by itself, after TTL.
	Expires bool
	TTL     time.Duration
	Since   time.Time // of the present token, on the server's clock
	// Revoked says that the key was taken by force, for Reason, and is still kept
	// from others.
	Revoked bool
	Reason  string

	// Waiting is how many wait, set-aside ones included; Waiters has the first of
	// them in their order.
	Waiting int
	Waiters []Waiter
}

// Waiter is a request that waits.
type Waiter struct {
	Owner  string
	Keys   []string // all that it waits for
	Rank   Rank
	Ticket string // empty for a blocking request
	Waited time.Duration
	// Aside says that it is passed over, since its process does not live.
	Aside bool
}

// ListRequest asks for a page of locks.
type ListRequest struct {
	// Cursor is empty for the first page, then the Next of the page before.
	Cursor string
	// Limit is about how many locks a page has; zero is 100.
	Limit int
	// IncludeForeign asks for the locks of other programs too, for which the
	// provider may have to page through everything that is stored beside them.
	IncludeForeign bool
}

// Page is a part of the locks that are held, without their waiters.
type Page struct {
	Locks []State
	// Next is the cursor of the next page; empty when this was the last.
	Next string
}

// ForceRequest says what to take from whom, and why.
type ForceRequest struct {
	Key    string
	Owner  string
	Token  Token // zero only for a foreign lock, which has none
	Reason string
	Now    bool
}

// AuditRecord tells of a key that was taken by force.
type AuditRecord struct {
	ForceRequest
	At time.Time // on the server's clock
}
