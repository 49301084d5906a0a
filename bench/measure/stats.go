// Package measure has the statistics of measurements that are noisy: medians of
// interleaved rounds, percentiles, fairness, and verdicts on budgets.
package measure

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Percentile returns the smallest value of a sorted list that at least p percent of
// the values don't exceed; zero for an empty list.
func Percentile[T any](sorted []T, p float64) T {
	if len(sorted) == 0 {
		var zero T
		return zero
	}
	i := int(math.Ceil(p/100*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// Jain returns Jain's fairness index of what each got: 1 when all got the same,
// 1/n when one got everything. Where nobody got anything it is 1.
func Jain(got []int) float64 {
	var sum, squares float64
	for _, n := range got {
		sum += float64(n)
		squares += float64(n) * float64(n)
	}
	if squares == 0 {
		return 1
	}
	return sum * sum / (float64(len(got)) * squares)
}

// Spread is the median of the rounds, and their extremes.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Over returns the spread of values; zero for none.
func Over(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	s := Spread{Median: sorted[mid], Min: sorted[0], Max: sorted[len(sorted)-1]}
	if len(sorted)%2 == 0 {
		s.Median = (sorted[mid-1] + sorted[mid]) / 2
	}
	return s
}

// Ratios divides round by round: what changes from round to round, such as what else
// the machine does, is in both and falls out. A round whose divisor is zero, or that
// one of the two lacks, is left out.
func Ratios(a, b []float64) []float64 {
	var ratios []float64
	for i := range min(len(a), len(b)) {
		if b[i] != 0 {
			ratios = append(ratios, a[i]/b[i])
		}
	}
	return ratios
}

// Interleave calls turn for each of n candidates in each round, in another order
// each round, and always in the same orders: no candidate comes always first, nor
// always after the same one.
func Interleave(rounds, n int, turn func(round, candidate int) error) error {
	order := rand.New(rand.NewPCG(1, uint64(n))) //nolint:gosec // an order to repeat, not a secret
	for round := range rounds {
		for _, candidate := range order.Perm(n) {
			if err := turn(round, candidate); err != nil {
				return err
			}
		}
	}
	return nil
}
