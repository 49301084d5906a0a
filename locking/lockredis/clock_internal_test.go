package lockredis

import (
	"testing"
	"time"
)

// waitingProvider is a provider of a cluster that is not connected, and has one that waits.
func waitingProvider() *Provider {
	p := &Provider{keys: newLayout(DefaultNamespace, true)}
	p.waits = newWaits("p", func(time.Time) {}, func(string) {})
	p.crossing = newCrossing(p.keys)
	g := p.keys.single("k")
	p.waits.add(&ask{id: "1", group: &g[0]})
	return p
}

func TestATickThatFallsDueWhileTheClockSeesToSomethingElseIsNotPutOff(t *testing.T) {
	p := waitingProvider()
	now := time.Now()
	p.clock.ticked = now.Add(-tickInterval - time.Millisecond)
	if next := p.next(time.Time{}, false); next.After(now) {
		t.Errorf("it comes %s after it was due", next.Sub(now))
	}
}

// The server is slow then, and is not to be pressed.
func TestATickThatTookLongerThanItsIntervalIsFollowedByAPause(t *testing.T) {
	p := waitingProvider()
	now := time.Now()
	p.clock.ticked = now.Add(-tickInterval - time.Millisecond)
	if next := p.next(time.Time{}, true); next.Before(now.Add(tickInterval)) {
		t.Errorf("it comes after %s", next.Sub(now))
	}
}

// What came after the round had begun is looked at when it ends, and not a tick later.
func TestALookForCirclesThatFallsDueDuringAnotherFollowsIt(t *testing.T) {
	p := waitingProvider()
	p.crossing.running = true
	if p.lookAcross(); !p.crossedAll() || !p.crossing.running {
		t.Error("the look that was due is left out")
	}
	if p.crossedAll() || p.crossing.running {
		t.Error("it is followed by one that nobody asked for")
	}
}
