// Package lockhistory records what callers of a lock provider see while much goes
// wrong, and judges whether one lock per key can have answered all of that.
//
// A [Caller] records; a [Workload] makes callers do everything at once; [Check] judges
// by [Model] with porcupine, and by the cheaper rules of direct.go. All of it looks at
// answers alone, never at what a provider stores.
package lockhistory

import (
	"math"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Kind is what a caller asked for.
type Kind string

// The kinds of operations. Acquire waits, Try does not. A Cancel is an Acquire whose
// context ends soon.
const (
	Acquire    Kind = "acquire"
	Try        Kind = "try"
	Cancel     Kind = "cancel"
	Join       Kind = "join"     // an acquire of an owner that has the key already
	Takeover   Kind = "takeover" // the same with a higher generation
	Outdated   Kind = "outdated" // the same with a lower one
	Extend     Kind = "extend"
	Release    Kind = "release"
	ReleaseAll Kind = "release all"
	Force      Kind = "force"     // without Now: the holder is told
	ForceNow   Kind = "force now" // the key goes on at once
	Inspect    Kind = "inspect"
	Lapse      Kind = "lapse" // nobody calls it: a hold's time runs out
)

// Outcome is what is known of an operation.
type Outcome string

// The outcomes. Unknown is that of an operation that ended in an error which says
// nothing, or that has not ended, because its process did before.
const (
	Unknown Outcome = ""
	Yes     Outcome = "yes"     // granted, extended, freed
	No      Outcome = "no"      // refused for sure; not held, by the caller
	Revoked Outcome = "revoked" // the hold is, by force
	Wrong   Outcome = "wrong"   // no answer to what was asked
)

// Never is a moment that does not come.
const Never = math.MaxInt64

// Op is an operation on one key; a call over several keys is as many of them. Moments
// are those of a [Clock].
type Op struct {
	Call    int64 // of the call; several have it when the call was over several keys
	Return  int64 // Never until it returns
	Process int
	Worker  int
	Serial  int // tells the operations of a process apart
	Kind    Kind
	Outcome Outcome
	Key     string
	Owner   string
	Gen     driver.Generation

	// Token is the hold's: what was granted, or what was to be extended, released or
	// taken. It is zero for a ReleaseAll.
	Token driver.Token
	// Until is the moment before which the hold surely does not lapse, as was answered.
	Until int64
	// Joined says that the hold was there before.
	Joined bool
	// Waiters are the owners that an Inspect saw waiting.
	Waiters []string
	// Err is the error's text, for the reader.
	Err string
}

// grants says whether the operation made a new hold.
func (o *Op) grants() bool { return o.asks() && o.Outcome == Yes && !o.Joined }

// asks says whether it asked for a key.
func (o *Op) asks() bool {
	switch o.Kind {
	case Acquire, Try, Cancel, Join, Takeover, Outdated:
		return true
	default:
		return false
	}
}

// id tells an operation from all others.
func (o *Op) id() [2]int { return [2]int{o.Process, o.Serial} }
