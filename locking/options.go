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
	AcquireOption interface{ toAcquire(o options) options }
	// TryOption is an option of [Service.TryAcquire].
	TryOption interface{ toTry(o options) options }
	// ExecuteOption is an option of [Service.Execute] and [Do].
	ExecuteOption interface{ toExecute(o options) options }
	// ReleaseOption is an option of [Service.Release] and [Service.ReleaseAll].
	ReleaseOption interface{ toRelease(o options) options }
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

	maxHold    time.Duration
	maxHoldSet bool
	warnBefore time.Duration
	warn       func(left time.Duration)
	warnSet    bool
}

// most returns how long the lock may live, zero being without end, and whether
// [MaxHold] says so.
func (o *options) most() (d time.Duration, maximum bool) {
	if o.maxHoldSet && (!o.expireSet || o.maxHold < o.expire) {
		return o.maxHold, true
	}
	return o.expire, false
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

func (p ProviderOption) toAcquire(o options) options { return p.apply(o) }
func (p ProviderOption) toTry(o options) options     { return p.apply(o) }
func (p ProviderOption) toExecute(o options) options { return p.apply(o) }
func (p ProviderOption) toRelease(o options) options { return p.apply(o) }

func (p ProviderOption) apply(o options) options {
	o.provider = p.id
	return o
}

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

func (p OwnerOption) toAcquire(o options) options { return p.apply(o) }
func (p OwnerOption) toTry(o options) options     { return p.apply(o) }
func (p OwnerOption) toRelease(o options) options { return p.apply(o) }

func (p OwnerOption) apply(o options) options {
	o.owner, o.ownerSet = p.id, true
	return o
}

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

func (p ExpireOption) toAcquire(o options) options { return p.apply(o) }
func (p ExpireOption) toTry(o options) options     { return p.apply(o) }
func (p ExpireOption) toExecute(o options) options { return p.apply(o) }

func (p ExpireOption) apply(o options) options {
	o.expire, o.expireSet = p.d, true
	return o
}

// WaitOption is made by [Wait].
type WaitOption struct{ d time.Duration }

// Wait says how long to wait for a lock that is taken, in place of the
// provider's WaitLockingTimeout (5 s). The context bounds the wait as well.
func Wait(d time.Duration) WaitOption { return WaitOption{d} }

func (p WaitOption) toAcquire(o options) options { return p.apply(o) }
func (p WaitOption) toExecute(o options) options { return p.apply(o) }

func (p WaitOption) apply(o options) options {
	o.wait, o.waitSet = p.d, true
	return o
}

// MaxHoldOption is made by [MaxHold].
type MaxHoldOption struct{ d time.Duration }

// MaxHold bounds for how long a lock that is renewed may be held, counted from when
// it was granted. When d has passed the lock's context ends with [ErrMaxHold], and
// the lock is given back.
//
// Outside a step [Service.Acquire] renews nothing, and MaxHold is the same as
// [Expire] there; of the two the shorter counts. Handles of one owner share their
// lock: it may be held as long as the one allows that allows most, and one without
// MaxHold allows all.
func MaxHold(d time.Duration) MaxHoldOption { return MaxHoldOption{d} }

func (p MaxHoldOption) toAcquire(o options) options { return p.apply(o) }
func (p MaxHoldOption) toTry(o options) options     { return p.apply(o) }
func (p MaxHoldOption) toExecute(o options) options { return p.apply(o) }

func (p MaxHoldOption) apply(o options) options {
	o.maxHold, o.maxHoldSet = p.d, true
	return o
}

// WarnOption is made by [WarnBefore].
type WarnOption struct {
	before time.Duration
	warn   func(left time.Duration)
}

// WarnBefore has a function called when the lock's certain end is no further away
// than d, with the time that is left: no renewal has moved the end, be it that the
// lock is not renewed, that [MaxHold] has it end, or that the provider cannot be
// reached. It is called at most once, on a goroutine of its own, and not after the
// lock has ended or was released; it may use the lock. [Service.Close] waits for it,
// so it must not call that.
//
// A lock that is renewed has at least two thirds of its lease left as long as all is
// well: a d above that warns without cause. One without expiry never warns.
func WarnBefore(d time.Duration, f func(left time.Duration)) WarnOption { return WarnOption{d, f} }

func (p WarnOption) toAcquire(o options) options { return p.apply(o) }
func (p WarnOption) toTry(o options) options     { return p.apply(o) }
func (p WarnOption) toExecute(o options) options { return p.apply(o) }

func (p WarnOption) apply(o options) options {
	o.warnBefore, o.warn, o.warnSet = p.before, p.warn, true
	return o
}

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
	case o.maxHoldSet && o.maxHold < time.Millisecond:
		return &InvalidError{"MaxHold", o.maxHold.String(), "at least 1ms"}
	case o.warnSet && o.warnBefore <= 0:
		return &InvalidError{"WarnBefore", o.warnBefore.String(), "more than zero"}
	case o.warnSet && o.warn == nil:
		return &InvalidError{"WarnBefore", "nil", "a function to call"}
	case o.waitSet && o.wait < 0:
		return &InvalidError{"Wait", o.wait.String(), "zero or more; TryAcquire does not wait"}
	}
	return nil
}
