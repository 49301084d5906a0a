package locking

import (
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Each call takes the options that mean something to it; any other does not
// compile. Options are immutable values and may be used for many calls.
type (
	// AcquireOption is an option of [Service.Acquire].
	AcquireOption interface{ toAcquire(o *options) }
	// TryOption is an option of [Service.TryAcquire].
	TryOption interface{ toTry(o *options) }
	// ExecuteOption is an option of [Service.Execute] and [Do].
	ExecuteOption interface{ toExecute(o *options) }
	// ReleaseOption is an option of [Service.Release] and [Service.ReleaseAll].
	ReleaseOption interface{ toRelease(o *options) }
	// InspectOption is an option of [Service.Inspect].
	InspectOption interface{ toInspect(o *toolOptions) }
	// ListOption is an option of [Service.List].
	ListOption interface{ toList(o *toolOptions) }
	// ForceOption is an option of [Service.ForceRelease].
	ForceOption interface{ toForce(o *toolOptions) }
	// AuditOption is an option of [Service.Audit].
	AuditOption interface{ toAudit(o *toolOptions) }
)

// options is what the options of one call add up to.
type options struct {
	provider  string
	owner     string
	ownerSet  bool
	expire    time.Duration
	expireSet bool
	wait      time.Duration
	waitSet   bool
}

// toolOptions is what the options of a call add up to that looks at locks, or takes
// one by force.
type toolOptions struct {
	provider string
	waiters  int
	foreign  bool
	now      bool
}

// ProviderOption is made by [WithProvider].
type ProviderOption struct{ id string }

// WithProvider addresses a provider by its id, such as "lp_locking-redis",
// in place of the default one.
func WithProvider(id string) ProviderOption { return ProviderOption{id} }

func (p ProviderOption) toAcquire(o *options) { o.provider = p.id }
func (p ProviderOption) toTry(o *options)     { o.provider = p.id }
func (p ProviderOption) toExecute(o *options) { o.provider = p.id }
func (p ProviderOption) toRelease(o *options) { o.provider = p.id }

func (p ProviderOption) toInspect(o *toolOptions) { o.provider = p.id }
func (p ProviderOption) toList(o *toolOptions)    { o.provider = p.id }
func (p ProviderOption) toForce(o *toolOptions)   { o.provider = p.id }
func (p ProviderOption) toAudit(o *toolOptions)   { o.provider = p.id }

// OwnerOption is made by [WithOwner].
type OwnerOption struct{ id string }

// WithOwner names the lock's owner. The same owner may acquire its lock again,
// from any process, and whoever knows the name can release it.
//
// Inside a step it takes the lock out of the execution's hands: the lock is then
// the named owner's, is not renewed, and stays when the execution ends.
//
// "*", the empty string and names that begin with "lockstep:" or "execute:" are
// refused: they stand for locks without an owner, of executions and of the jobs of
// [Service.Execute].
func WithOwner(id string) OwnerOption { return OwnerOption{id} }

func (p OwnerOption) toAcquire(o *options) { o.owner, o.ownerSet = p.id, true }
func (p OwnerOption) toTry(o *options)     { o.owner, o.ownerSet = p.id, true }
func (p OwnerOption) toRelease(o *options) { o.owner, o.ownerSet = p.id, true }

// ExpireOption is made by [Expire].
type ExpireOption struct{ d time.Duration }

// Expire bounds how long the lock lives, to the millisecond.
//
//   - With [Service.Acquire] outside a step the lock lapses after d.
//   - Inside a step the lock is renewed until d has passed, and lapses then.
//   - With [Service.Execute] d is the lease, which is renewed while the job runs.
//
// An owner that acquires its lock again can extend the expiry, never shorten it;
// without Expire it leaves the one that stands.
func Expire(d time.Duration) ExpireOption { return ExpireOption{d} }

func (p ExpireOption) toAcquire(o *options) { o.expire, o.expireSet = p.d, true }
func (p ExpireOption) toTry(o *options)     { o.expire, o.expireSet = p.d, true }
func (p ExpireOption) toExecute(o *options) { o.expire, o.expireSet = p.d, true }

// WaitOption is made by [Wait].
type WaitOption struct{ d time.Duration }

// Wait says how long to wait for a lock that is taken, in place of the
// provider's WaitLockingTimeout (5 s). The context bounds the wait as well.
func Wait(d time.Duration) WaitOption { return WaitOption{d} }

func (p WaitOption) toAcquire(o *options) { o.wait, o.waitSet = p.d, true }
func (p WaitOption) toExecute(o *options) { o.wait, o.waitSet = p.d, true }

// WaitersOption is made by [Waiters].
type WaitersOption struct{ n int }

// Waiters says of how many waiters to tell at most, 0 to [MaxWaiters].
func Waiters(n int) WaitersOption { return WaitersOption{n} }

func (p WaitersOption) toInspect(o *toolOptions) { o.waiters = p.n }

// ForeignOption is made by [IncludeForeign].
type ForeignOption struct{}

// IncludeForeign lists the locks of other programs too, such as Medusa's. The
// provider may have to page through all that is stored in its namespace.
func IncludeForeign() ForeignOption { return ForeignOption{} }

func (ForeignOption) toList(o *toolOptions) { o.foreign = true }

// NowOption is made by [Now].
type NowOption struct{}

// Now hands the key on at once, although its holder may still be at work.
func Now() NowOption { return NowOption{} }

func (NowOption) toForce(o *toolOptions) { o.now = true }

// check refuses values that no call can honour.
func (o *options) check() error {
	switch {
	case o.ownerSet && o.owner == "":
		return &InvalidError{"owner", `""`, "a name that is not empty"}
	case o.ownerSet && o.owner == driver.Anonymous:
		return &InvalidError{"owner", `"*"`, `another name: "*" stands for locks without an owner`}
	case o.ownerSet && strings.HasPrefix(o.owner, runctx.OwnerPrefix):
		return &InvalidError{"owner", quoteShort(o.owner), `a name that does not begin with "lockstep:", which marks the locks of executions`}
	case o.ownerSet && strings.HasPrefix(o.owner, jobOwnerPrefix):
		return &InvalidError{"owner", quoteShort(o.owner), `a name that does not begin with "execute:", which marks the locks of jobs`}
	case o.expireSet && o.expire < time.Millisecond:
		return &InvalidError{"Expire", o.expire.String(), "at least 1ms"}
	case o.waitSet && o.wait < 0:
		return &InvalidError{"Wait", o.wait.String(), "zero or more; TryAcquire does not wait"}
	}
	return nil
}
