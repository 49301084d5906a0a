package lockhistory

import (
	"fmt"

	"github.com/anishathalye/porcupine"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Model is one lock. Porcupine looks for an order of the operations on it, in which each
// one takes place at a moment between its call and its return, and is answered as it was.
//
// Invariants: what the model lets nobody see
//  1. A key is granted while it is free, or to its owner as a takeover by a higher
//     generation; never while another has it, or after it was taken by force and not
//     yet given back.
//  2. Grants take place in the order of their tokens, and no two have the same.
//  3. A hold ends by a release that names its owner and token (or its owner alone, in
//     a ReleaseAll), by a takeover, by force at once, or by itself, but not before the
//     last Until that its holder was told. Nothing else ends one.
//  4. What has ended stays so: it is neither extended nor joined, nor released again.
//  5. What is held is: an extend does not call it lost, nor a release or a taking by
//     force that names it say that it is not held.
//  6. A hold taken by force, without Now, is only released; an extend says that it is
//     revoked, and no hold is called so that is not.
//
// Why it raises no false alarm
//   - Who asked and was told no, or nothing, may have had the key for a while all the
//     same: nobody saw it. Such a hold only keeps the key from others, which the model
//     never demands, so it is left out. Where it may have ended an older hold of its
//     owner, by a takeover, it is an operation that may have an effect or not.
//   - What may still take effect, since its process was killed or its answer lost, has
//     no return: it takes place whenever that explains something. It names a token, or
//     an owner whose hold it ends; once a later token is granted it can't matter any
//     more, and there its time ends. So few such operations are open at a time.
//   - A lapse is an operation like that. It begins at the last Until: a hold that was
//     extended surely stood then. An extend of unknown outcome only makes holds longer;
//     see [Caller.Extend].
//   - A release that was sent again after its answer was lost counts as done when the
//     hold is not there any more. So it may be answered yes for one that has ended, in
//     operations that took long or were troubled: they are loose.
//
// Why it finds what it should
//   - Tokens give the one order of grants there can be: each names the one before it
//     among those that were seen. So the search hardly branches, and what is called
//     linearizable is so with the server's own order.
func Model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return state{} },
		Step: func(s, in, _ any) (bool, any) {
			return s.(state).step(in.(*step)) //nolint:forcetypeassert // both are ours
		},
		DescribeOperation: func(in, _ any) string { return fmt.Sprint(in) },
		DescribeState:     func(s any) string { return fmt.Sprint(s) },
	}
}

// state is a lock.
type state struct {
	newest  driver.Token // that was granted and seen
	held    bool
	owner   string
	gen     driver.Generation
	token   driver.Token
	revoked bool
}

func (s state) String() string {
	switch {
	case !s.held:
		return fmt.Sprintf("free, newest %d", s.newest)
	case s.revoked:
		return fmt.Sprintf("%s has it with %d, revoked", s.owner, s.token)
	}
	return fmt.Sprintf("%s (%d:%d) has it with %d", s.owner, s.gen.Epoch, s.gen.Attempt, s.token)
}

// step is an operation as the model sees it.
type step struct {
	*Op
	// before is the token that was granted and seen before this grant's.
	before driver.Token
	// loose: a release that may be answered yes for what has ended.
	loose bool
}

func (x *step) String() string {
	text := fmt.Sprintf("%s %s %d:%d", x.Kind, x.Owner, x.Gen.Epoch, x.Gen.Attempt)
	if x.Token > 0 {
		text += fmt.Sprintf(" token %d", x.Token)
	}
	if x.Joined {
		text += " joined"
	}
	if x.Outcome == Unknown {
		return text + ": unknown " + x.Err
	}
	return text + ": " + string(x.Outcome)
}

func (s state) free() state { return state{newest: s.newest} }

// has says whether the operation names the hold that stands.
func (s state) has(x *step) bool {
	return s.held && s.owner == x.Owner && (s.token == x.Token || x.Kind == ReleaseAll)
}

func (s state) step(x *step) (bool, state) {
	switch {
	case x.asks() && x.Outcome == Unknown:
		return s.hiddenTakeover(x)
	case x.asks() && x.Joined:
		return s.has(x) && s.gen == x.Gen && !s.revoked, s
	case x.asks():
		return s.grant(x)
	}
	switch x.Kind {
	case Extend:
		return s.extend(x)
	case Release, ReleaseAll:
		return s.release(x)
	case Force, ForceNow:
		return s.force(x)
	case Lapse:
		return s.perhaps(x, s.free())
	default:
		return false, s
	}
}

func (s state) grant(x *step) (bool, state) {
	if s.newest != x.before || (s.held && !s.takenOver(x)) {
		return false, s
	}
	return true, state{newest: x.Token, held: true, owner: x.Owner, gen: x.Gen, token: x.Token}
}

func (s state) takenOver(x *step) bool {
	return s.held && s.owner == x.Owner && x.Owner != driver.Anonymous && !s.revoked && x.Gen.Compare(s.gen) > 0
}

// hiddenTakeover ends the hold of its owner, perhaps. Whoever got the key by it gives
// it back, at any time.
func (s state) hiddenTakeover(x *step) (bool, state) {
	if s.takenOver(x) {
		return true, s.free()
	}
	return true, s
}

func (s state) extend(x *step) (bool, state) {
	switch x.Outcome {
	case Yes:
		return s.has(x) && !s.revoked, s
	case Revoked:
		return s.has(x) && s.revoked, s
	default:
		return !s.has(x), s
	}
}

func (s state) release(x *step) (bool, state) {
	switch {
	case x.Outcome == Unknown:
		return s.perhaps(x, s.free())
	case s.has(x):
		return x.Outcome == Yes, s.free()
	default:
		return x.Outcome == No || x.loose || x.Kind == ReleaseAll, s
	}
}

func (s state) force(x *step) (bool, state) {
	after := s.free()
	if x.Kind == Force {
		after = s
		after.revoked = true
	}
	switch {
	case x.Outcome == Unknown:
		return s.perhaps(x, after)
	case s.has(x):
		return x.Outcome == Yes, after
	default:
		return x.Outcome == No, s
	}
}

// perhaps is the step of what may take effect: while what it names is held it does, and
// once that has ended it does nothing. Before its grant it cannot be.
func (s state) perhaps(x *step, after state) (bool, state) {
	if s.has(x) {
		return true, after
	}
	return s.newest >= x.Token, s
}
