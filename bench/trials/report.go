package trials

import (
	"time"

	"github.com/lockstep-dev/lockstep/bench/locks"
	"github.com/lockstep-dev/lockstep/bench/measure"
)

// Report is what a run has measured. Times are microseconds, and medians over the
// rounds unless they say otherwise.
type Report struct {
	Host        Host             `json:"host"`
	Uncontended []Uncontended    `json:"uncontended,omitempty"`
	Contended   []Contended      `json:"contended,omitempty"`
	ManyKeys    []ManyKeysRow    `json:"manyKeys,omitempty"`
	Memory      []MemoryRow      `json:"memory,omitempty"`
	Budgets     []measure.Budget `json:"budgets"`
}

// Host is where and how it was measured.
type Host struct {
	At     time.Time `json:"at"`
	Go     string    `json:"go"`
	Redis  string    `json:"redis"`
	Cores  int       `json:"cores"`
	Rounds int       `json:"rounds"`
	Slice  string    `json:"slice"`
}

// Uncontended are callers of whom none wants another's key.
type Uncontended struct {
	Callers int              `json:"callers"`
	Rows    []UncontendedRow `json:"rows"`
}

// UncontendedRow is one candidate there. What is counted is counted for a pair of
// acquire and release.
type UncontendedRow struct {
	Name        string         `json:"name"`
	Rate        measure.Spread `json:"pairsPerSecond"`
	ToFloor     measure.Spread `json:"ratioToRaw"`
	P50         float64        `json:"p50"`
	P99         float64        `json:"p99"`
	Commands    float64        `json:"commands"`
	RoundTrips  float64        `json:"writes"`
	Allocations float64        `json:"allocations"`
	Bytes       float64        `json:"bytes"`

	kind  locks.Kind
	rates []float64 // by round
}

// Contended are callers who all want one key.
type Contended struct {
	Processes int            `json:"processes"`
	Callers   int            `json:"callers"`
	Rows      []ContendedRow `json:"rows"`
	Stalls    Stalls         `json:"stalls"`
}

// Stalls are the machine's own, seen between the turns of the candidates while nothing
// else ran: a goroutine that does nothing but read the clock was not run for a
// millisecond or longer. Every candidate's longest waits have them, too.
type Stalls struct {
	PerSecond float64 `json:"perSecond"`
	Longest   float64 `json:"longest"`
	Watched   float64 `json:"watched"`
}

// ContendedRow is one candidate there.
type ContendedRow struct {
	Name        string         `json:"name"`
	Rate        measure.Spread `json:"handOffsPerSecond"`
	P50         float64        `json:"p50"`
	P99         float64        `json:"p99"`
	P99ToP50    float64        `json:"p99ToP50"`
	Max         float64        `json:"max"` // of all rounds
	Jain        float64        `json:"jain"`
	JainBriefly float64        `json:"jainIn100ms"` // the budgets don't look at it
	Commands    float64        `json:"commands"`
	Allocations float64        `json:"allocations"`
	// Unserved and Failures are callers of all rounds: those who still waited when
	// patience ended, and those whose call failed.
	Unserved int `json:"unserved"`
	Failures int `json:"failures"`

	kind  locks.Kind
	rates []float64 // by round
}

// ManyKeysRow is one candidate whose one caller takes several keys at once.
type ManyKeysRow struct {
	Name     string         `json:"name"`
	Keys     int            `json:"keys"`
	Rate     measure.Spread `json:"pairsPerSecond"`
	P50      float64        `json:"p50"`
	Commands float64        `json:"commands"`
	ToSingle measure.Spread `json:"latencyToSingle"`
}

// MemoryRow is what one lock or one waiter of many costs, in bytes.
type MemoryRow struct {
	Name   string  `json:"name"`
	What   string  `json:"what"`
	Count  int     `json:"count"`
	Heap   float64 `json:"clientHeap"`
	Stack  float64 `json:"clientStack"`
	Server float64 `json:"server"`
	// ServedPerSecond is how fast waiters got their turn in the end.
	ServedPerSecond float64 `json:"servedPerSecond,omitempty"`
}
