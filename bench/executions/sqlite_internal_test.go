package executions

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/bench/durable"
)

// played is a runner that waits for nothing.
type played struct {
	answer func(n int) (int, error)
	closed atomic.Bool
}

func (p *played) Run(_ context.Context, n int) (int, error) { return p.answer(n) }

func (p *played) Close(context.Context) error {
	p.closed.Store(true)
	return nil
}

func (p *played) slice(t *testing.T) (slice, error) {
	t.Helper()
	c := candidate{callers: 4, Contender: durable.Contender{Open: func(context.Context, string, durable.Sync) (durable.Runner, error) { return p, nil }}}
	return c.slice(t.Context(), Config{Window: 5 * time.Millisecond, Least: 10, Folder: t.TempDir(), Progress: io.Discard})
}

func TestASliceCountsWhatEndsInItsWindow(t *testing.T) {
	var done atomic.Int64
	p := &played{answer: func(n int) (int, error) {
		done.Add(1)
		return n + durable.Steps, nil
	}}
	s, err := p.slice(t)
	if err != nil || !p.closed.Load() {
		t.Fatal(err, p.closed.Load())
	}
	if n := int64(len(s.waits)); n < 10 || n >= done.Load() || s.rate <= 0 {
		t.Errorf("%d of %d are counted, %v/s", n, done.Load(), s.rate)
	}
}

func TestASliceEndsWithAnErrorOrAWrongResult(t *testing.T) {
	for want, answer := range map[string]func(n int) (int, error){
		"the workflow on 20: broken":    func(n int) (int, error) { return n + durable.Steps, errors.New("broken") },
		"the workflow on 20 came to 20": func(n int) (int, error) { return n, nil },
	} {
		p := &played{answer: func(n int) (int, error) {
			if n == 20 {
				return answer(n)
			}
			return n + durable.Steps, nil
		}}
		if _, err := p.slice(t); err == nil || err.Error() != want || !p.closed.Load() {
			t.Errorf("%v, want %s; closed: %t", err, want, p.closed.Load())
		}
	}
}

func TestABudgetIsOverTheRoundsAndBesideThePeerAtItsBest(t *testing.T) {
	rounds := func(name string, sync durable.Sync, callers int, rates ...float64) *candidate {
		c := &candidate{Contender: durable.Contender{Name: name}, sync: sync, callers: callers}
		for _, r := range rates {
			c.slices = append(c.slices, slice{rate: r})
		}
		return c
	}
	all := []*candidate{
		rounds(durable.NameLockstep, durable.Full, 1, 1, 1, 1),
		rounds(durable.NameLockstep, durable.Full, 64, 100, 60, 80),
		rounds(durable.NameFloor, durable.Full, 64, 200, 100, 100),
		rounds(durable.NameDBOS, durable.Full, 1, 10, 10, 40),
		rounds(durable.NameDBOS, durable.Full, 64, 20, 5, 10),
		rounds(durable.NameLockstep, durable.Normal, 64, 90),
		rounds(durable.NameDBOS, durable.Normal, 1, 30),
		rounds(durable.NameDBOS, durable.Normal, 64, 10),
	}
	var got []string
	for _, b := range sqliteBudgets(all) {
		got = append(got, b.String())
	}
	want := []string{
		"budget engine.sqlite.full.floor measured=0.600 wants=>=0.6 ok",
		"budget engine.sqlite.full.dbos measured=5.000 wants=>=5 ok",
		"budget engine.sqlite.normal.dbos measured=3.000 wants=>=5 short",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if none := sqliteBudgets(all[:2]); len(none) != 0 {
		t.Errorf("with nothing to compare with there is %v", none)
	}
}

func TestAnUnknownContenderIsNamedWithThoseThereAre(t *testing.T) {
	_, err := Run(t.Context(), Config{Only: []string{"sqlite"}, Contenders: []string{"floor", "nobody"}})
	if err == nil || !strings.Contains(err.Error(), `"nobody"`) || !strings.Contains(err.Error(), "lockstep, lockstep-kept, floor, dbos, go-workflows") {
		t.Error(err)
	}
}
