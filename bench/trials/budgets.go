package trials

import (
	"fmt"
	"slices"

	"github.com/lockstep-dev/lockstep/bench/locks"
	"github.com/lockstep-dev/lockstep/bench/measure"
)

// fair is the index from which on a peer counts as fair.
const fair = 0.95

// budgets are the verdicts on what was measured. What was left out has none.
func budgets(r *Report) []measure.Budget {
	var all []measure.Budget
	for _, part := range r.Uncontended {
		all = append(all, aloneBudgets(part)...)
	}
	for _, part := range r.Contended {
		all = append(all, togetherBudgets(part)...)
	}
	if row, ok := tenThousand(r.Memory); ok {
		mebibytes := (row.Heap + row.Stack) * float64(row.Count) / (1 << 20)
		all = append(all, measure.Budget{ID: "locks.waiters.10000.MiB", Measured: mebibytes, Bound: measure.AtMost, Wants: 64})
	}
	return all
}

func aloneBudgets(part Uncontended) []measure.Budget {
	i := slices.IndexFunc(part.Rows, func(r UncontendedRow) bool { return r.kind == locks.Ours })
	if i < 0 {
		return nil
	}
	ours := part.Rows[i]
	var all []measure.Budget
	least := func(id string, measured, wants float64) {
		all = append(all, measure.Budget{ID: id, Measured: measured, Bound: measure.AtLeast, Wants: wants})
	}
	compared := slices.ContainsFunc(part.Rows, func(r UncontendedRow) bool { return r.kind == locks.Floor })
	if part.Callers == 1 {
		if compared {
			least("locks.uncontended.1", ours.ToFloor.Median, 0.9)
		}
		// One slice in two has a tick in it: a hundredth is room for that.
		return append(all, measure.Budget{ID: "locks.roundtrips", Measured: ours.RoundTrips, Bound: measure.AtMost, Wants: 2.01})
	}
	if compared {
		least("locks.uncontended.64", ours.ToFloor.Median, 1.25)
	}
	var toPeers []float64
	for _, peer := range part.Rows {
		if peer.kind == locks.Peer {
			toPeers = append(toPeers, ratio(ours, peer).Median)
		}
	}
	if len(toPeers) > 0 {
		least("locks.uncontended.64.peers", slices.Min(toPeers), 0.97)
	}
	return all
}

func togetherBudgets(part Contended) []measure.Budget {
	i := slices.IndexFunc(part.Rows, func(r ContendedRow) bool { return r.kind == locks.Ours })
	if i < 0 {
		return nil
	}
	ours := part.Rows[i]
	prefix := fmt.Sprintf("locks.contended.%dp.", part.Processes)
	spread := 2.0
	if part.Processes > 1 {
		spread = 2.5
	}
	all := []measure.Budget{
		{ID: prefix + "commands", Measured: ours.Commands, Bound: measure.AtMost, Wants: 2.05},
		{ID: prefix + "p99p50", Measured: ours.P99ToP50, Bound: measure.AtMost, Wants: spread},
		{ID: prefix + "jain", Measured: ours.Jain, Bound: measure.AtLeast, Wants: 0.99},
	}
	if len(part.Rows) == 1 {
		return all
	}
	return append(all,
		toFastest(prefix+"handoffs-fair-peer", ours, part.Rows, 2, func(r ContendedRow) bool { return r.Jain >= fair }),
		toFastest(prefix+"handoffs-unfair-peer", ours, part.Rows, 0.9, func(r ContendedRow) bool { return r.Jain < fair }))
}

// toFastest compares with the fastest of some peers, round by round.
func toFastest(id string, ours ContendedRow, rows []ContendedRow, wants float64, of func(ContendedRow) bool) measure.Budget {
	b := measure.Budget{ID: id, Bound: measure.AtLeast, Wants: wants, Without: true}
	fastest := 0.0
	for _, peer := range rows {
		if peer.kind != locks.Peer || !of(peer) || peer.Rate.Median <= fastest {
			continue
		}
		fastest = peer.Rate.Median
		b.Without, b.Measured = false, measure.Over(measure.Ratios(ours.rates, peer.rates)).Median
	}
	return b
}
