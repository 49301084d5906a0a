package lockhistory

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// The rules of this file need no search, and no model: each looks at the answers of one
// key. They find less than the model does, but the order of waiting, which it has not.

// answered: each answer is one to what was asked.
func (k *key) answered() (faults []string) {
	for _, op := range k.ops {
		if op.Outcome == Wrong {
			faults = append(faults, fmt.Sprintf("%s of %s was %s", op.Kind, op.Owner, op.Err))
		}
	}
	return faults
}

// oneCaller: each token is one caller's.
func (k *key) oneCaller() (faults []string) {
	for i, g := range k.grants[:max(len(k.grants)-1, 0)] {
		if next := k.grants[i+1]; next.Token == g.Token {
			faults = append(faults, fmt.Sprintf("token %d was granted to %s and to %s", g.Token, g.Owner, next.Owner))
		}
	}
	return faults
}

// tokensRise: who asked after a grant was answered has a higher token.
func (k *key) tokensRise() (faults []string) {
	byCall := slices.SortedFunc(slices.Values(k.grants), func(a, b *Op) int { return cmp.Compare(a.Call, b.Call) })
	byReturn := slices.SortedFunc(slices.Values(k.grants), func(a, b *Op) int { return cmp.Compare(a.Return, b.Return) })
	var highest *Op
	at := 0
	for _, g := range byCall {
		for ; byReturn[at].Return < g.Call; at++ {
			if highest == nil || byReturn[at].Token > highest.Token {
				highest = byReturn[at]
			}
		}
		if highest != nil && highest.Token >= g.Token {
			faults = append(faults, fmt.Sprintf("%s was granted token %d before %s asked, who got token %d", highest.Owner, highest.Token, g.Owner, g.Token))
		}
	}
	return faults
}

// interval is when a hold surely stood.
type interval struct {
	grant    *Op
	from, to int64
}

// surely returns when each hold surely stood: from the answer of the grant until it was
// asked to end, or until the last Until that was told.
func (k *key) surely() []interval {
	list := make([]interval, len(k.grants))
	byToken := map[driver.Token][]*interval{}
	byOwner := map[string][]*interval{}
	for i, g := range k.grants {
		list[i] = interval{g, g.Return, g.Until}
		byToken[g.Token] = append(byToken[g.Token], &list[i])
		byOwner[g.Owner] = append(byOwner[g.Owner], &list[i])
	}
	for _, op := range k.ops { // each that says yes shows that the hold has not lapsed
		if op.Outcome == Yes && (op.Kind == Extend || op.Joined) {
			for _, v := range byToken[op.Token] {
				v.to = max(v.to, op.Until)
			}
		}
	}
	for _, op := range k.ops {
		switch op.Kind {
		case Release, ForceNow:
			for _, v := range byToken[op.Token] {
				if v.grant.Owner == op.Owner {
					v.to = min(v.to, op.Call)
				}
			}
		case ReleaseAll, Takeover:
			for _, v := range byOwner[op.Owner] {
				if v.grant.Gen.Compare(op.Gen) < 0 || op.Kind == ReleaseAll {
					v.to = min(v.to, op.Call)
				}
			}
		default:
		}
	}
	return list
}

// exclude: no two holds surely stood at the same time.
func (k *key) exclude() (faults []string) {
	list := slices.DeleteFunc(k.surely(), func(v interval) bool { return v.to <= v.from })
	slices.SortFunc(list, func(a, b interval) int { return cmp.Compare(a.from, b.from) })
	var last interval // the one that ends last
	for _, v := range list {
		if last.grant != nil && v.from < last.to {
			faults = append(faults, fmt.Sprintf("%s (token %d) and %s (token %d) held it at the same time, for %s",
				last.grant.Owner, last.grant.Token, v.grant.Owner, v.grant.Token, time.Duration(min(last.to, v.to)-v.from)))
		}
		if last.grant == nil || v.to > last.to {
			last = v
		}
	}
	return faults
}

// queued is a request that was seen waiting, and got the key in the end.
type queued struct {
	grant *Op
	seen  int64
}

// inOrder: who was seen waiting before another one asked is served before that one.
// Waiters of a process that had trouble meanwhile may be passed. It says how many times
// one was seen in front of another.
func (k *key) inOrder(troubles []Trouble) (pairs int, faults []string) {
	seen := map[string]int64{}
	for _, op := range k.ops {
		for _, w := range op.Waiters {
			if at, ok := seen[w]; !ok || op.Return < at {
				seen[w] = op.Return
			}
		}
	}
	var first []queued
	for _, g := range k.grants {
		at, ok := seen[g.Owner]
		if ok && g.Kind == Acquire && g.Owner != driver.Anonymous && !troubled(troubles, g) {
			first = append(first, queued{g, at})
		}
	}
	slices.SortFunc(first, func(a, b queued) int { return cmp.Compare(a.seen, b.seen) })
	behind := slices.SortedFunc(slices.Values(k.grants), func(a, b *Op) int { return cmp.Compare(a.Call, b.Call) })
	var latest *Op
	at := 0
	for _, g := range behind {
		for ; at < len(first) && first[at].seen < g.Call; at++ {
			if latest == nil || first[at].grant.Token > latest.Token {
				latest = first[at].grant
			}
		}
		if latest == nil || g.Kind == Takeover || g.Kind == Join || g.Kind == Outdated {
			continue
		}
		if latest.Return > g.Call { // it was still waiting then
			pairs++
		}
		if latest.Token > g.Token {
			faults = append(faults, fmt.Sprintf("%s waited when %s had not asked, but got token %d, and the other %d", latest.Owner, g.Owner, latest.Token, g.Token))
		}
	}
	return pairs, faults
}

// troubled says whether a request's process had trouble while it waited.
func troubled(list []Trouble, op *Op) bool {
	return slices.ContainsFunc(list, func(t Trouble) bool {
		return (t.Process == op.Process || t.Process == Everyone) && t.From <= op.Return && op.Call <= t.To
	})
}

// slowCalls are times in which the server, or all of the machine, hardly answered. A
// call that does not wait takes that long in no other case but a trouble of its own
// process, which is known.
func slowCalls(h *History) []Trouble {
	var list []Trouble
	for i := range h.Ops {
		op := &h.Ops[i]
		switch op.Kind {
		case Acquire, Cancel, Join, Takeover, Outdated:
			continue
		default:
		}
		if op.Return != Never && time.Duration(op.Return-op.Call) > stallMost && !troubled(h.Troubles, op) {
			list = append(list, Trouble{Everyone, op.Call, op.Return + int64(aftermath), "a call takes long"})
		}
	}
	return list
}
