package trials

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lockstep-dev/lockstep/bench/locks"
	"github.com/lockstep-dev/lockstep/bench/measure"
)

// alone measures callers of whom none wants another's key.
func (c *Config) alone(ctx context.Context, addr string, callers int, report *Report) (err error) {
	all, closeAll, err := openAll(ctx, c.candidates(func(l locks.Candidate) bool { return l.Alone }), addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	rings := make([][]keyring, len(all))
	for i, l := range all {
		rings[i] = keyrings("alone:"+l.Name, callers, 1)
		// All connections are open, and the caches warm, before the first round.
		if _, err := c.patiently(ctx, l, rings[i], c.Slice/2); err != nil {
			return err
		}
	}
	rounds := make([][]slice, len(all))
	err = measure.Interleave(c.Rounds, len(all), func(_, i int) error {
		s, err := c.patiently(ctx, all[i], rings[i], c.Slice)
		rounds[i] = append(rounds[i], s)
		return err
	})
	if err != nil {
		return err
	}
	part := Uncontended{Callers: callers}
	for i, l := range all {
		part.Rows = append(part.Rows, aloneRow(l.Candidate, rounds[i]))
	}
	for i := range part.Rows {
		for j := range part.Rows {
			if part.Rows[j].kind == locks.Floor {
				part.Rows[i].ToFloor = ratio(part.Rows[i], part.Rows[j])
			}
		}
	}
	report.Uncontended = append(report.Uncontended, part)
	return nil
}

// patiently runs a slice, and once more with other keys where a peer fails: one that
// loses a wake-up must not end the run. Ours may not fail, nor the floor.
func (c *Config) patiently(ctx context.Context, l opened, rings []keyring, window time.Duration) (slice, error) {
	s, err := run(ctx, l, rings, window)
	if err == nil || l.Kind != locks.Peer || ctx.Err() != nil {
		return s, err
	}
	if _, err := fmt.Fprintf(c.Progress, "%s failed, and is run once more: %v\n", l.Name, err); err != nil {
		return s, err
	}
	return run(ctx, l, keyrings("again:"+l.Name, len(rings), 1), window)
}

func aloneRow(l locks.Candidate, rounds []slice) UncontendedRow {
	median := func(figure func(slice) float64) float64 { return measure.Over(pick(rounds, figure)).Median }
	rates := pick(rounds, slice.perSecond)
	return UncontendedRow{
		Name: l.Name, kind: l.Kind, rates: rates,
		Rate:        measure.Over(rates),
		P50:         median(func(s slice) float64 { return micros(s.p50) }),
		P99:         median(func(s slice) float64 { return micros(s.p99) }),
		Commands:    median(func(s slice) float64 { return s.commands }),
		RoundTrips:  median(func(s slice) float64 { return s.writes }),
		Allocations: median(func(s slice) float64 { return s.allocs }),
		Bytes:       median(func(s slice) float64 { return s.bytes }),
	}
}

func ratio(a, b UncontendedRow) measure.Spread { return measure.Over(measure.Ratios(a.rates, b.rates)) }

// manyKeys measures one caller that takes several keys at once.
func (c *Config) manyKeys(ctx context.Context, addr string, report *Report) (err error) {
	all, closeAll, err := openAll(ctx, c.candidates(func(l locks.Candidate) bool { return l.ManyKeys }), addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	counts := []int{1, 3, 8}
	rounds := make([][]slice, len(all)*len(counts))
	rings := make([][]keyring, len(rounds))
	for i := range rings {
		l, count := all[i/len(counts)], counts[i%len(counts)]
		rings[i] = keyrings(fmt.Sprintf("many:%s:%d", l.Name, count), 1, count)
		if _, err := run(ctx, l, rings[i], c.Slice/4); err != nil {
			return err
		}
	}
	err = measure.Interleave(c.Rounds, len(rounds), func(_, i int) error {
		s, err := run(ctx, all[i/len(counts)], rings[i], c.Slice)
		rounds[i] = append(rounds[i], s)
		return err
	})
	if err != nil {
		return err
	}
	latency := func(s slice) float64 { return micros(s.p50) }
	for i, own := range rounds {
		single := rounds[i/len(counts)*len(counts)]
		report.ManyKeys = append(report.ManyKeys, ManyKeysRow{
			Name: all[i/len(counts)].Name, Keys: counts[i%len(counts)],
			Rate:     measure.Over(pick(own, slice.perSecond)),
			P50:      measure.Over(pick(own, latency)).Median,
			Commands: measure.Over(pick(own, func(s slice) float64 { return s.commands })).Median,
			ToSingle: measure.Over(measure.Ratios(pick(own, latency), pick(single, latency))),
		})
	}
	return nil
}
