package measure_test

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/bench/measure"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAPercentileIsTheSmallestValueThatSoManyDoNotExceed(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, c := range []struct {
		of   []time.Duration
		p    float64
		want time.Duration
	}{
		{hundred, 0, 1},
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred, 99.5, 100},
		{hundred, 100, 100},
		{hundred[:1], 99, 1},
		{hundred[:2], 50, 1},
		{hundred[:3], 50, 2},
		{nil, 50, 0},
	} {
		if got := measure.Percentile(c.of, c.p); got != c.want {
			t.Errorf("p%v of %d values: %d, want %d", c.p, len(c.of), got, c.want)
		}
	}
}

func TestJainIsOneForEqualSharesAndOneNthForAllToOne(t *testing.T) {
	for _, c := range []struct {
		got  []int
		want float64
	}{
		{[]int{7, 7, 7, 7}, 1},
		{[]int{0, 0, 9, 0}, 0.25},
		{[]int{1, 2, 3}, 36.0 / 42},
		{[]int{0, 0}, 1},
		{nil, 1},
	} {
		if j := measure.Jain(c.got); math.Abs(j-c.want) > 1e-12 {
			t.Errorf("%v: %v, want %v", c.got, j, c.want)
		}
	}
}

func TestTheMedianOfAnEvenNumberIsBetweenTheMiddleTwo(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want measure.Spread
	}{
		{[]float64{9, 1, 5}, measure.Spread{Median: 5, Min: 1, Max: 9}},
		{[]float64{4, 1, 3, 2}, measure.Spread{Median: 2.5, Min: 1, Max: 4}},
		{nil, measure.Spread{}},
	} {
		if got := measure.Over(c.of); got != c.want {
			t.Errorf("%v: %v, want %v", c.of, got, c.want)
		}
	}
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	got := measure.Ratios([]float64{10, 40, 5, 9}, []float64{5, 20, 0})
	if !slices.Equal(got, []float64{2, 2}) {
		t.Errorf("got %v", got)
	}
}

func TestInterleavedRoundsHaveEachCandidateOnceInChangingOrder(t *testing.T) {
	const rounds, n = 20, 5
	turns := make([][]int, rounds)
	if err := measure.Interleave(rounds, n, func(round, candidate int) error {
		turns[round] = append(turns[round], candidate)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	first := map[int]bool{}
	for round, order := range turns {
		first[order[0]] = true
		if !slices.Equal(slices.Sorted(slices.Values(order)), []int{0, 1, 2, 3, 4}) {
			t.Errorf("round %d has %v", round, order)
		}
	}
	if len(first) < n {
		t.Errorf("only %v ever come first", first)
	}
}

func TestAnErrorEndsTheRounds(t *testing.T) {
	want := errors.New("broken")
	calls := 0
	err := measure.Interleave(3, 3, func(int, int) error { calls++; return want })
	if !errors.Is(err, want) || calls != 1 {
		t.Errorf("got %v after %d calls", err, calls)
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		b    measure.Budget
		want string
	}{
		{measure.Budget{ID: "a", Measured: 0.91, Bound: measure.AtLeast, Wants: 0.9}, "budget a measured=0.910 wants=>=0.9 ok"},
		{measure.Budget{ID: "b", Measured: 0.89, Bound: measure.AtLeast, Wants: 0.9}, "budget b measured=0.890 wants=>=0.9 short"},
		{measure.Budget{ID: "c", Measured: 2.0504, Bound: measure.AtMost, Wants: 2.05}, "budget c measured=2.050 wants=<=2.05 ok"},
		{measure.Budget{ID: "d", Measured: 2.06, Bound: measure.AtMost, Wants: 2.05}, "budget d measured=2.060 wants=<=2.05 short"},
		{measure.Budget{ID: "e", Bound: measure.AtLeast, Wants: 2, Without: true}, "budget e measured=none wants=>=2 ok"},
		{measure.Budget{ID: "f", Measured: math.NaN(), Bound: measure.AtLeast, Wants: 2}, "budget f measured=NaN wants=>=2 short"},
	} {
		if got := c.b.String(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestABudgetInJSONSaysWhatItsLineSays(t *testing.T) {
	list := []measure.Budget{
		{ID: "a", Measured: 0.5, Bound: measure.AtLeast, Wants: 0.9},
		{ID: "e", Bound: measure.AtMost, Wants: 2, Without: true},
	}
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"id":"a","measured":0.5,"wants":"\u003e=0.9","verdict":"short"},` +
		`{"id":"e","measured":null,"wants":"\u003c=2","verdict":"ok"}]`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}
