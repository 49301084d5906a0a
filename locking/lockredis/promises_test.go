package lockredis_test

import (
	"testing"
)

// promise is a rule that holds although something befalls the servers in the midst of it:
// it begins before that, and is judged when it is over.
type promise struct {
	rule  string
	begin func(w *world) (end func(w *world))
}

// kept are the promises that a server keeps which forgets nothing, in the order of their
// ends: the last ones take their time.
var kept = []promise{
	{"waiters are served once each and in their order", inTheirOrder},
	{"who has a key keeps it from others", keepsItFromOthers},
	{"a request for many keys has all or none", allOrNone},
	{"the tokens of a key rise", tokensRise},
	{"a fence refuses a holder that is not the newest", fenceRefuses},
	{"only owner and token free and extend a hold", ownerAndToken},
	{"an owner's locks are released together, and no others", releasedTogether},
	{"a key taken by force is kept until its holder lets go", takenByForce},
	{"a circle is found that closes", circleIsFound},
	{"who gives up waiting leaves nothing and frees nothing of others", givesUp},
	{"a lease that could not be renewed has ended before another has the key", leaseEndsFirst},
	{"a waiter that has died is passed over", deadWaiter},
	{"the lock of a holder that has died goes on when its lease has lapsed", deadHolder},
}

// keptByWhatForgets are those that a server keeps which forgets everything.
var keptByWhatForgets = []promise{
	{"waiters are served once each and in their order", inTheirOrder},
	{"a request for many keys has all or none", allOrNone},
	{"the tokens of a key rise", tokensRise},
	{"a fence refuses a holder that is not the newest", fenceRefuses},
	{"only owner and token free and extend a hold", ownerAndToken},
	{"who gives up waiting leaves nothing and frees nothing of others", givesUp},
	{"a waiter that has died is passed over", deadWaiter},
}

func TestPromisesOverARestartOfTheServerWithItsData(t *testing.T) {
	t.Parallel()
	restarted(t).keeps(kept)
}

func TestPromisesOverAFlush(t *testing.T) {
	t.Parallel()
	flushed(t).keeps(keptByWhatForgets)
}

// Nothing is lost in these failovers: what is when something is, docs/guarantees.md tells.
func TestPromisesOverAFailoverBehindSentinels(t *testing.T) {
	t.Parallel()
	behindSentinels(t).keeps(kept)
}

func TestPromisesOverTheFailoverOfANodeOfACluster(t *testing.T) {
	t.Parallel()
	onACluster(t).keeps(kept)
}

// keeps begins all promises, has it befall the servers, and judges each.
func (w *world) keeps(promises []promise) {
	w.t.Helper()
	ends := make([]func(*world), len(promises))
	for i, p := range promises {
		ends[i] = p.begin(w)
	}
	w.befall()
	w.well()
	for i, p := range promises {
		w.t.Run(p.rule, func(t *testing.T) { ends[i](w.in(t)) })
	}
}
