package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/lockstep-dev/lockstep/workflow"
)

// tally counts what became of the orders.
type tally struct {
	SoldOf      map[string]int // by product
	Refused     int            // sold out
	Compensated int            // card declined, reservation undone
	Failed      int            // anything else
	FirstError  string
	Left        int
	Unfinished  []string
	NotBegun    int
	Interrupted bool
}

func newTally() tally { return tally{SoldOf: map[string]int{}} }

func (t *tally) count(o Order, err error) {
	switch {
	case err == nil:
		t.SoldOf[o.Product]++
	case errors.Is(err, errSoldOut):
		t.Refused++
	case errors.Is(err, errDeclined):
		t.Compensated++
	case errors.Is(err, workflow.ErrInterrupted): // listed as unfinished
	case errors.Is(err, workflow.ErrNotRunning):
		t.NotBegun++
	default:
		t.Failed++
		if t.FirstError == "" {
			t.FirstError = err.Error()
		}
	}
}

// Done counts the orders that came to an end.
func (t *tally) Done() int { return t.sold() + t.Refused + t.Compensated + t.Failed }

func (t *tally) sold() int {
	n := 0
	for _, s := range t.SoldOf {
		n += s
	}
	return n
}

func (t *tally) oversold(stock int) int {
	n := 0
	for _, s := range t.SoldOf {
		n += max(0, s-stock)
	}
	return n
}

// add puts another process's count to this one.
func (t *tally) add(o tally) {
	for p, n := range o.SoldOf {
		t.SoldOf[p] += n
	}
	t.Refused += o.Refused
	t.Compensated += o.Compensated
	t.Failed += o.Failed
	t.NotBegun += o.NotBegun
	t.Unfinished = append(t.Unfinished, o.Unfinished...)
	t.Interrupted = t.Interrupted || o.Interrupted
	if t.FirstError == "" {
		t.FirstError = o.FirstError
	}
}

// report prints the table and the closing line, and returns the exit status.
func (t *tally) report(out io.Writer, set settings) int {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "orders\tsold\trefused\tcompensated\tfailed\tstock\tleft\t")
	fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", set.orders, t.sold(), t.Refused, t.Compensated, t.Failed,
		set.stock*set.products, t.Left)
	if err := w.Flush(); err != nil {
		return statusOversold
	}
	if t.Failed > 0 {
		fmt.Fprintf(out, "%d orders failed; the first: %s\n", t.Failed, t.FirstError)
	}
	if t.Interrupted {
		fmt.Fprintf(out, "interrupted: %d orders were not begun, %d were begun and not finished%s\n",
			t.NotBegun, len(t.Unfinished), list(t.Unfinished))
	}
	over := t.oversold(set.stock)
	fmt.Fprintf(out, "sold=%d left=%d refused=%d compensated=%d oversold=%d\n", t.sold(), t.Left, t.Refused, t.Compensated, over)
	switch {
	case over > 0 || t.Failed > 0:
		return statusOversold
	case t.Interrupted:
		return statusInterrupted
	}
	return 0
}

func list(ids []string) string {
	const most = 20
	switch {
	case len(ids) == 0:
		return ""
	case len(ids) > most:
		return ": " + strings.Join(ids[:most], " ") + " …"
	}
	return ": " + strings.Join(ids, " ")
}
