package medusa_test

import (
	"strings"
	"testing"
	"time"
)

func TestTheVerdictOfAContest(t *testing.T) {
	const tick, retry, slack = 500.0, 1000.0, 250.0 // ms
	history := func(turns ...turn) *seen { return &seen{Turns: turns} }
	none := history()
	held := turn{Asked: 1, Began: 1, Ended: 100} // by the other side
	hundred := func(t turn) *seen {
		s := &seen{}
		for i := range 100 {
			at := float64(1000 * i)
			s.Turns = append(s.Turns, turn{Asked: at + t.Asked, Began: at + t.Began, Ended: at + t.Ended})
		}
		return s
	}
	for name, c := range map[string]struct {
		ours, theirs *seen
		busy         bool   // the key is seldom free
		want         string // a part of the one fault; "" is none
	}{
		"nobody has waited": {ours: history(held), theirs: none},
		"two were inside":   {ours: &seen{Overlaps: 1}, theirs: none, want: "two were inside 1 times"},
		"an error":          {ours: none, theirs: &seen{Errors: []string{"broken"}}, want: "broken"},

		"we wait a tick": {
			ours: history(turn{Asked: 50, Began: 100 + tick}), theirs: history(held),
		},
		"we wait longer than a tick for a key that is free": {
			ours:   history(turn{Asked: 50, Began: 102 + tick + slack}),
			theirs: history(held, turn{Asked: 100, Began: 101, Ended: 101.5}), // it came in between
			want:   "we waited for 750.5ms while nobody had the key",
		},
		"we wait longer than a tick while the other comes in again and again": {
			ours: history(turn{Asked: 50, Began: 101 + tick + slack}),
			theirs: history(held, turn{Asked: 200, Began: 300, Ended: 500},
				turn{Asked: 550, Began: 600, Ended: 800}),
			want: "we waited for 751ms beyond our turn",
		},
		"one of ours waits for those of ours who asked before it": {
			ours:   history(turn{Asked: 40, Began: 101, Ended: 1100}, turn{Asked: 50, Began: 1101, Ended: 1102}),
			theirs: history(held),
		},
		"nearly none of the others' releases are noticed at once": {
			ours:   hundred(turn{Asked: 1, Began: 200, Ended: 201}),
			theirs: hundred(turn{Asked: 0, Began: 1, Ended: 100}),
			want:   "100 of the 100 times",
		},
		"all of the others' releases are noticed at once": {
			ours:   hundred(turn{Asked: 1, Began: 101, Ended: 201}),
			theirs: hundred(turn{Asked: 0, Began: 1, Ended: 100}),
		},

		"Medusa waits a second": {
			ours: history(held), theirs: history(turn{Asked: 50, Began: 100 + retry}),
		},
		"Medusa waits longer than a second for a key that is free": {
			ours:   history(held, turn{Asked: 101, Began: 101, Ended: 101.5}),
			theirs: history(turn{Asked: 50, Began: 102 + retry + slack}),
			busy:   true,
			want:   "Medusa waited for 1.2505s while nobody had the key",
		},
		"Medusa waits longer than a second while we come in again and again": {
			ours:   history(held, turn{Asked: 700, Began: 700, Ended: 800}),
			theirs: history(turn{Asked: 50, Began: 101 + retry + slack}),
			want:   "Medusa waited for 1.251s beyond its turn",
		},
		"Medusa does so where the key is seldom free": {
			ours:   history(held, turn{Asked: 700, Began: 700, Ended: 800}),
			theirs: history(turn{Asked: 50, Began: 101 + retry + slack}),
			busy:   true,
		},
		"who gives up has waited, too": {
			ours: history(turn{Asked: 50, GaveUp: 101 + tick + slack}), theirs: history(held),
			want: "we waited for 751ms",
		},
		"somebody waits longer than anybody may": {
			ours: history(turn{Asked: 1, Began: 1, Ended: 9000}), theirs: history(turn{Asked: 50, GaveUp: 5301}),
			want: "one of Medusa's waited for 5.251s",
		},
	} {
		t.Run(name, func(t *testing.T) {
			faults := contest{wait: 5 * time.Second, mostlyFree: !c.busy}.verdict(c.ours, c.theirs)
			if c.want == "" && len(faults) > 0 || c.want != "" && !strings.Contains(strings.Join(faults, "; "), c.want) {
				t.Errorf("got %q", faults)
			}
		})
	}
}

func TestTheTimeForWhichSomebodyWaitedInVain(t *testing.T) {
	one := &seen{Turns: []turn{{Asked: 0, Began: 100, Ended: 110}, {Asked: 110, GaveUp: 200}}}
	other := &seen{Turns: []turn{{Asked: 0, Began: 10, Ended: 50}, {Asked: 60, Began: 120, Ended: 140}}}
	if d := one.idle(other); d != 60*time.Millisecond { // 140 to 200
		t.Errorf("got %s", d)
	}
	if d := other.idle(one); d != 40*time.Millisecond { // 60 to 100
		t.Errorf("got %s", d)
	}
}

func TestTheTimeForWhichSomebodyWaitedBeyondItsTurn(t *testing.T) {
	s := &seen{Turns: []turn{{Asked: 10, Began: 70, Ended: 80}, {Asked: 20, Began: 95, Ended: 99}}}
	other := &seen{Turns: []turn{{Asked: 0, Began: 5, Ended: 40}, {Asked: 41, Began: 45, Ended: 60}}}
	if d := s.beyond(other); d != 30*time.Millisecond { // 40 to 70, although the other was inside again
		t.Errorf("got %s", d)
	}
}
