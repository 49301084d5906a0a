package measure

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Bound says on which side of the wanted value a measured one has to be.
type Bound string

// The bounds.
const (
	AtLeast Bound = ">="
	AtMost  Bound = "<="
)

// Budget is a measured value beside what was wanted.
type Budget struct {
	ID       string
	Measured float64
	Bound    Bound
	Wants    float64
	// Without says that there was nothing to compare with, a peer that is fair, say:
	// there is no measured value then, and the budget is kept.
	Without bool
}

// OK says that the budget is kept. What is printed decides: a value is compared as
// it is shown, with its three decimals.
func (b Budget) OK() bool {
	if b.Without {
		return true
	}
	m, err := strconv.ParseFloat(b.measured(), 64)
	if err != nil { // not a number
		return false
	}
	if b.Bound == AtLeast {
		return m >= b.Wants
	}
	return m <= b.Wants
}

func (b Budget) measured() string {
	if b.Without {
		return "none"
	}
	return strconv.FormatFloat(b.Measured, 'f', 3, 64)
}

func (b Budget) verdict() string {
	if b.OK() {
		return "ok"
	}
	return "short"
}

func (b Budget) wants() string {
	return string(b.Bound) + strconv.FormatFloat(b.Wants, 'f', -1, 64)
}

// String is the line that is printed for the budget.
func (b Budget) String() string {
	return fmt.Sprintf("budget %s measured=%s wants=%s %s", b.ID, b.measured(), b.wants(), b.verdict())
}

// MarshalJSON writes what String says.
func (b Budget) MarshalJSON() ([]byte, error) {
	var m *float64
	if !b.Without {
		m = &b.Measured
	}
	return json.Marshal(struct {
		ID       string   `json:"id"`
		Measured *float64 `json:"measured"`
		Wants    string   `json:"wants"`
		Verdict  string   `json:"verdict"`
	}{b.ID, m, b.wants(), b.verdict()})
}
