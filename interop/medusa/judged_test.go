package medusa_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

func TestNeverTwoAreInsideAndNeitherSideStarves(t *testing.T) {
	c := contest{callers: 1, inside: 5 * time.Millisecond, outside: 20 * time.Millisecond, wait: 5 * time.Second, mostlyFree: true}
	ours, theirs := c.judged(startBoth(t), *contestTime)
	if ours.served() < len(ours.Turns) || theirs.served() < len(theirs.Turns) {
		t.Error("somebody has given up")
	}
}

func TestTheWitnessSeesTwoWhoDoNotExcludeEachOther(t *testing.T) {
	b := startBoth(t)
	b.locks = startService(t, lockredis.Config{RedisURL: b.server.URL(), Namespace: "elsewhere:"})
	ours, theirs := contest{callers: 1, inside: 5 * time.Millisecond, wait: 5 * time.Second}.run(b, time.Second)
	if ours.Overlaps+theirs.Overlaps == 0 {
		t.Error("they share no lock, and the witness saw nothing")
	}
}

// The verdict of the contest that nobody starves in can fail: it does where the service has
// only its ticks.
func TestTheVerdictIsThatNothingIsPushedWhereTheServerMayNotPush(t *testing.T) {
	b := startBoth(t)
	b.locks = b.serviceThatIsNotPushed()
	c := contest{callers: 1, inside: 5 * time.Millisecond, outside: 20 * time.Millisecond, wait: 5 * time.Second, mostlyFree: true}
	faults := c.verdict(c.run(b, 5*time.Second))
	if !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, "nothing was pushed") }) {
		t.Errorf("got %q", faults)
	}
}

// Medusa does not stand in our queue: it takes the key when it finds it free at one of
// its polls, which become a second apart. Where we need the key all the time it seldom
// does, and never when several of ours hand it to each other. Two stores do the same to
// each other. What is seen is printed, and stands in docs/medusa.md; what is promised holds
// here, too.
func TestWhereTheKeyIsAlmostNeverFreeTheyStillExcludeEachOther(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []contest{
		{callers: 1, inside: 5 * ms, outside: 0, wait: 2 * time.Second},
		{callers: 1, inside: 5 * ms, outside: 5 * ms, wait: 2 * time.Second},
		{callers: 2, inside: 5 * ms, outside: 5 * ms, wait: 2 * time.Second},
		{callers: 4, inside: 5 * ms, outside: 50 * ms, wait: 2 * time.Second},
	} {
		t.Run(fmt.Sprintf("%d callers outside for %s", c.callers, c.outside), func(t *testing.T) {
			c.judged(startBoth(t), *contestTime/4)
		})
	}
}
