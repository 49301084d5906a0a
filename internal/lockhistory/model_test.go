package lockhistory

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// A history is written as operations in the order of their calls. Each takes from its
// number times ten to one later, unless its times are named.

func at(call, end int64, op Op) Op {
	op.Call, op.Return = call, end
	return op
}

func history(ops ...Op) History {
	for i := range ops {
		op := &ops[i]
		op.Key, op.Serial, op.Worker = "k", i, i
		if op.Call == 0 {
			op.Call, op.Return = int64(10*i+10), int64(10*i+11)
		}
		if op.Outcome == Unknown {
			op.Return = Never
		}
	}
	return History{Ops: ops}
}

func gen(n uint64) driver.Generation { return driver.Generation{Attempt: n} }

func grant(owner string, token driver.Token) Op {
	return Op{Kind: Acquire, Owner: owner, Token: token, Outcome: Yes, Until: Never}
}

func lapsing(owner string, token driver.Token, until int64) Op {
	op := grant(owner, token)
	op.Until = until
	return op
}

func takeover(owner string, token driver.Token, n uint64) Op {
	op := grant(owner, token)
	op.Kind, op.Gen = Takeover, gen(n)
	return op
}

func joined(owner string, token driver.Token) Op {
	op := grant(owner, token)
	op.Kind, op.Joined = Join, true
	return op
}

func extend(owner string, token driver.Token, said Outcome, until int64) Op {
	return Op{Kind: Extend, Owner: owner, Token: token, Outcome: said, Until: until}
}

func release(owner string, token driver.Token, said Outcome) Op {
	return Op{Kind: Release, Owner: owner, Token: token, Outcome: said}
}

func force(kind Kind, owner string, token driver.Token, said Outcome) Op {
	return Op{Kind: kind, Owner: owner, Token: token, Outcome: said}
}

func hidden(kind Kind, owner string, n uint64) Op { return Op{Kind: kind, Owner: owner, Gen: gen(n)} }

func check(h History) []string { return Judge{Bound: time.Minute}.Check(h).Faults }

func TestWhatALockCanAnswerIsExplained(t *testing.T) {
	for name, h := range map[string]History{
		"one after the other":              history(grant("a", 1), release("a", 1, Yes), grant("b", 2), release("b", 2, Yes)),
		"a grant that ends a wait":         history(at(1, 5, grant("a", 1)), at(2, 30, grant("b", 2)), at(20, 40, release("a", 1, Yes))),
		"a takeover":                       history(grant("a", 1), takeover("a", 2, 1), extend("a", 1, No, 0), release("a", 1, No), release("a", 2, Yes)),
		"a join":                           history(grant("a", 1), joined("a", 1), release("a", 1, Yes)),
		"a lapse":                          history(lapsing("a", 1, 15), grant("b", 2), extend("a", 1, No, 0), release("a", 1, No)),
		"a lapse after an extension":       history(lapsing("a", 1, 15), at(12, 13, extend("a", 1, Yes, 40)), at(41, 42, grant("b", 2))),
		"a lapse that nobody followed":     history(lapsing("a", 1, 15), extend("a", 1, No, 0)),
		"a release of unknown outcome":     history(grant("a", 1), release("a", 1, Unknown), grant("b", 2)),
		"one that took effect later":       history(grant("a", 1), release("a", 1, Unknown), extend("a", 1, Yes, Never), grant("b", 2)),
		"one that never took effect":       history(grant("a", 1), release("a", 1, Unknown), extend("a", 1, Yes, Never)),
		"a takeover of unknown outcome":    history(grant("a", 1), hidden(Takeover, "a", 1), extend("a", 1, No, 0), grant("b", 2)),
		"one that was refused":             history(grant("a", 1), hidden(Takeover, "a", 1), extend("a", 1, Yes, Never), release("a", 1, Yes)),
		"a key taken by force":             history(grant("a", 1), force(Force, "a", 1, Yes), extend("a", 1, Revoked, 0), release("a", 1, Yes), grant("b", 2)),
		"one taken by force at once":       history(grant("a", 1), force(ForceNow, "a", 1, Yes), grant("b", 2), release("a", 1, No)),
		"one taken by force perhaps":       history(grant("a", 1), force(ForceNow, "a", 1, Unknown), grant("b", 2), release("a", 1, No)),
		"one revoked perhaps":              history(grant("a", 1), force(Force, "a", 1, Unknown), extend("a", 1, Revoked, 0), release("a", 1, Yes)),
		"force that names another":         history(grant("a", 1), force(ForceNow, "b", 1, No), force(ForceNow, "a", 9, No), release("a", 1, Yes)),
		"a request of unknown outcome":     history(hidden(Acquire, "a", 0), grant("b", 2), release("b", 2, Yes)),
		"all locks of an owner are freed":  history(grant("a", 1), Op{Kind: ReleaseAll, Owner: "a", Outcome: Yes}, grant("b", 2)),
		"perhaps":                          history(grant("a", 1), Op{Kind: ReleaseAll, Owner: "a"}, grant("b", 2)),
		"a release that was sent twice":    history(lapsing("a", 1, 5), at(20, 20+int64(time.Second), release("a", 1, Yes)), at(21, 22, grant("b", 2))),
		"an offer that was seen and freed": history(lapsing("a", 1, 40), at(12, 13, release("a", 1, Yes)), grant("b", 2)),
	} {
		t.Run(name, func(t *testing.T) {
			for _, fault := range check(h) {
				t.Error(fault)
			}
		})
	}
}

func TestWhatNoLockCanAnswerIsFound(t *testing.T) {
	for name, h := range map[string]History{
		"two at once":                           history(grant("a", 1), grant("b", 2)),
		"the same owner twice":                  history(grant("*", 1), grant("*", 2)),
		"a token twice":                         history(grant("a", 1), release("a", 1, Yes), grant("b", 1)),
		"tokens that fall":                      history(grant("a", 2), release("a", 2, Yes), grant("b", 1)),
		"a lapse before its time":               history(lapsing("a", 1, 90), grant("b", 2)),
		"a lapse before its last time":          history(lapsing("a", 1, 15), at(12, 13, extend("a", 1, Yes, 90)), grant("b", 2)),
		"a lapse of what does not":              history(grant("a", 1), extend("a", 1, No, 0)),
		"a release by another":                  history(grant("a", 1), release("b", 1, Yes)),
		"a release of an older hold":            history(grant("a", 1), takeover("a", 2, 1), release("a", 1, Yes)),
		"a release that frees nothing":          history(grant("a", 1), release("a", 1, Yes), extend("a", 1, Yes, Never)),
		"a release that denies":                 history(grant("a", 1), release("a", 1, No)),
		"a release of unknown outcome, twice":   history(grant("a", 1), release("a", 1, Unknown), grant("b", 2), grant("c", 3)),
		"an extension that revives":             history(lapsing("a", 1, 15), grant("b", 2), extend("a", 1, Yes, Never)),
		"a hold that outlives its takeover":     history(grant("a", 1), takeover("a", 2, 1), extend("a", 1, Yes, Never)),
		"a takeover by an earlier generation":   history(takeover("a", 1, 2), takeover("a", 2, 1)),
		"a takeover of another's":               history(grant("a", 1), takeover("b", 2, 1)),
		"a takeover that keeps the token":       history(grant("a", 1), takeover("a", 1, 1)),
		"a join of another's":                   history(grant("a", 1), joined("b", 1)),
		"a join after the end":                  history(grant("a", 1), release("a", 1, Yes), joined("a", 1)),
		"a revoked key that goes on":            history(grant("a", 1), force(Force, "a", 1, Yes), grant("b", 2)),
		"a revoked key that is extended":        history(grant("a", 1), force(Force, "a", 1, Yes), extend("a", 1, Yes, Never)),
		"a key that is revoked by nobody":       history(grant("a", 1), extend("a", 1, Revoked, 0)),
		"force that takes nothing":              history(grant("a", 1), force(ForceNow, "a", 1, Yes), extend("a", 1, Yes, Never)),
		"force that denies":                     history(grant("a", 1), force(ForceNow, "a", 1, No)),
		"force that takes another's":            history(grant("a", 1), force(ForceNow, "b", 1, Yes)),
		"a request of unknown outcome as cause": history(grant("a", 1), hidden(Cancel, "b", 0), grant("c", 2)),
		"an answer to something else":           history(Op{Kind: Acquire, Owner: "a", Outcome: Wrong}),
	} {
		t.Run(name, func(t *testing.T) {
			if len(check(h)) == 0 {
				t.Error("it is not found")
			}
		})
	}
}

// The rules of direct.go find by themselves what they are for.
func TestTheDirectRulesFindWhatTheyAreFor(t *testing.T) {
	waiter := at(1, 60, grant("first", 3))
	late := at(30, 31, grant("second", 2))
	seen := at(10, 20, Op{Kind: Inspect, Outcome: Yes, Waiters: []string{"first"}})
	for name, c := range map[string]struct {
		history History
		rule    func(*key) []string
	}{
		"overlap":       {history(grant("a", 1), grant("b", 2)), (*key).exclude},
		"extended":      {history(lapsing("a", 1, 15), at(12, 13, extend("a", 1, Yes, 90)), grant("b", 2)), (*key).exclude},
		"twice":         {history(grant("a", 1), grant("b", 1)), (*key).oneCaller},
		"falling":       {history(grant("a", 2), grant("b", 1)), (*key).tokensRise},
		"out of turn":   {history(waiter, seen, late), func(k *key) []string { _, f := k.inOrder(nil); return f }},
		"wrong answers": {history(Op{Kind: Acquire, Owner: "a", Outcome: Wrong}), (*key).answered},
	} {
		if faults := c.rule(byKey(&c.history, false)[0]); len(faults) == 0 {
			t.Errorf("%s: nothing is found", name)
		}
	}
}

func TestATurnIsExcusedByTroubleOfItsOwnProcessAlone(t *testing.T) {
	h := history(at(1, 60, grant("first", 3)), at(10, 20, Op{Kind: Inspect, Outcome: Yes, Waiters: []string{"first"}}), at(30, 31, grant("second", 2)))
	for _, c := range []struct {
		trouble Trouble
		faults  int
	}{
		{Trouble{Process: 7, From: 5, To: 6}, 1},
		{Trouble{Process: 0, From: 5, To: 6}, 0},
		{Trouble{Process: Everyone, From: 5, To: 6}, 0},
		{Trouble{Process: 0, From: 61, To: 70}, 1},
	} {
		if _, faults := byKey(&h, false)[0].inOrder([]Trouble{c.trouble}); len(faults) != c.faults {
			t.Errorf("%+v: %q", c.trouble, faults)
		}
	}
}

func TestASearchThatTakesTooLongIsAFault(t *testing.T) {
	faults := Judge{Bound: time.Nanosecond}.Check(history(grant("a", 1), release("a", 1, Yes))).Faults
	if len(faults) == 0 || !strings.Contains(faults[0], "took longer") {
		t.Errorf("got %q", faults)
	}
}

func TestAFaultIsDrawnAndTheLastExplanationTold(t *testing.T) {
	faults := Judge{Bound: time.Minute, Dir: t.TempDir()}.Check(history(grant("a", 1), release("a", 1, No))).Faults
	if said := fmt.Sprint(faults); !strings.Contains(said, "see "+"/") || !strings.Contains(said, "a (0:0) has it with 1") || !strings.Contains(said, "[release a 0:0 token 1: no]") {
		t.Errorf("got %s", said)
	}
}
