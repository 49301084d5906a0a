package lockhistory

import (
	"cmp"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// looseAfter is how long an operation lasts at least whose answer was lost: a client
// waits longer before it sends it again.
const looseAfter = 500 * time.Millisecond

// key is the history of one key.
type key struct {
	name   string
	ops    []*Op
	grants []*Op // those that were seen, by token
	lossy  bool  // answers were lost without anybody having to wait
	// rejoined is how many joins were told as grants of their own.
	rejoined int
}

// byKey sorts a history by keys.
func byKey(h *History, lossy bool) []*key {
	byName := map[string]*key{}
	var keys []*key
	for i := range h.Ops {
		op := &h.Ops[i]
		k := byName[op.Key]
		if k == nil {
			k = &key{name: op.Key, lossy: lossy}
			byName[op.Key] = k
			keys = append(keys, k)
		}
		k.ops = append(k.ops, op)
		if lossy && k.rejoins(op) {
			op.Joined = true
			k.rejoined++
		}
		if op.grants() {
			k.grants = append(k.grants, op)
		}
	}
	for _, k := range keys {
		slices.SortFunc(k.grants, func(a, b *Op) int {
			return cmp.Or(cmp.Compare(a.Token, b.Token), cmp.Compare(a.Return, b.Return))
		})
	}
	return keys
}

// rejoins says that a join was told as if it had made the hold, as lockredis does when a
// join's answer is lost and it is sent again. It is counted, since the contract says
// otherwise; the hold is the right one.
func (k *key) rejoins(op *Op) bool {
	return op.Kind == Join && op.grants() && slices.ContainsFunc(k.grants, func(g *Op) bool {
		return g.Token == op.Token && g.Owner == op.Owner && g.Gen == op.Gen && g.Return <= op.Call
	})
}

// operations is the history as porcupine takes it.
func (k *key) operations() []porcupine.Operation {
	var list []porcupine.Operation
	add := func(x *step, call, end int64) {
		if end >= call {
			list = append(list, porcupine.Operation{ClientId: x.Worker, Input: x, Call: call, Return: end})
		}
	}
	before := driver.Token(0)
	for i, g := range k.grants {
		if i > 0 && k.grants[i-1].Token < g.Token {
			before = k.grants[i-1].Token
		}
		add(&step{Op: g, before: before}, g.Call, g.Return)
	}
	for _, op := range k.ops {
		x := &step{Op: op}
		switch {
		case op.grants(), op.Kind == Inspect, op.Outcome == Wrong:
		case op.asks() && op.Outcome == Yes:
			add(x, op.Call, op.Return)
		case op.asks():
			if latest := k.latestOf(op); op.Kind == Takeover && op.Outcome == Unknown && latest > 0 {
				add(x, op.Call, k.over(latest))
			}
		case op.Kind == ReleaseAll && op.Outcome == Unknown:
			if latest := k.latestOf(op); latest > 0 {
				y := *op
				y.Kind, y.Token = Release, latest
				add(&step{Op: &y}, op.Call, k.over(latest))
			}
		case op.Outcome == Unknown:
			if op.Kind != Extend {
				add(x, op.Call, k.over(op.Token))
			}
		default:
			x.loose = k.lossy || time.Duration(op.Return-op.Call) > looseAfter
			add(x, op.Call, op.Return)
		}
	}
	for _, op := range k.lapses() {
		add(&step{Op: op}, op.Call, k.over(op.Token))
	}
	return list
}

// latestOf is the newest token of the operation's owner that was granted before it.
func (k *key) latestOf(op *Op) driver.Token {
	for _, g := range slices.Backward(k.grants) {
		if g.Owner == op.Owner && g.Return <= op.Call {
			return g.Token
		}
	}
	return 0
}

// over is when the hold with a token has ended for sure: when a later one was seen.
func (k *key) over(token driver.Token) int64 {
	at, _ := slices.BinarySearchFunc(k.grants, token+1, func(g *Op, t driver.Token) int { return cmp.Compare(g.Token, t) })
	if at == len(k.grants) {
		return Never
	}
	return k.grants[at].Return
}

// lapses are the holds that may have lapsed: from the last Until that was told. Those
// that were released before that, or were found not to be there, did not.
func (k *key) lapses() []*Op {
	byToken := map[driver.Token]*Op{}
	for _, g := range k.grants {
		byToken[g.Token] = &Op{Kind: Lapse, Key: k.name, Owner: g.Owner, Gen: g.Gen, Token: g.Token, Call: g.Until}
	}
	for _, op := range k.ops {
		if l := byToken[op.Token]; l != nil && op.Outcome == Yes && (op.Kind == Extend || op.Joined) {
			l.Call = max(l.Call, op.Until)
		}
	}
	for _, op := range k.ops {
		l := byToken[op.Token]
		if l != nil && op.Kind == Release && op.Owner == l.Owner && op.Outcome != Unknown && op.Return < l.Call {
			l.Call = Never
		}
	}
	var list []*Op
	for _, g := range k.grants {
		if l := byToken[g.Token]; l != nil && l.Call != Never {
			list = append(list, l)
			delete(byToken, g.Token)
		}
	}
	return list
}
