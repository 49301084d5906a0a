package trials

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/lockstep-dev/lockstep/bench/measure"
)

// Print writes the report for people: tables, and then a line for each budget.
func (r *Report) Print(out io.Writer) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%s, Redis %s, %d cores, %d rounds of %s, medians [least, most]\n",
		r.Host.Go, r.Host.Redis, r.Host.Cores, r.Host.Rounds, r.Host.Slice)
	for _, part := range r.Uncontended {
		printUncontended(&text, part)
	}
	for _, part := range r.Contended {
		printContended(&text, part)
	}
	if len(r.ManyKeys) > 0 {
		printManyKeys(&text, r.ManyKeys)
	}
	if len(r.Memory) > 0 {
		printMemory(&text, r.Memory)
	}
	text.WriteString("\n")
	for _, b := range r.Budgets {
		fmt.Fprintln(&text, b)
	}
	_, err := io.WriteString(out, text.String())
	return err
}

func printUncontended(out io.Writer, part Uncontended) {
	t := table(out, fmt.Sprintf("uncontended, callers: %d", part.Callers),
		"candidate", "pairs/s", "to raw", "p50", "p99", "commands", "writes", "allocs", "bytes")
	for _, r := range part.Rows {
		t.row(r.Name, whole(r.Rate), hundredths(r.ToFloor), span(r.P50), span(r.P99),
			decimal(r.Commands), decimal(r.RoundTrips), number(r.Allocations), number(r.Bytes))
	}
	t.end()
}

func printContended(out io.Writer, part Contended) {
	t := table(out, fmt.Sprintf("contended, %d callers for one key, processes: %d", part.Callers, part.Processes),
		"candidate", "hand-offs/s", "wait p50", "p99", "max", "p99/p50", "Jain", "in 100 ms", "commands", "allocs", "unserved", "failed")
	for _, r := range part.Rows {
		t.row(r.Name, whole(r.Rate), span(r.P50), span(r.P99), span(r.Max), decimal(r.P99ToP50),
			thousandths(r.Jain), thousandths(r.JainBriefly), decimal(r.Commands), number(r.Allocations), strconv.Itoa(r.Unserved), strconv.Itoa(r.Failures))
	}
	t.end()
	fmt.Fprintf(out, "  stalls of this machine: %.1f/s of >= %s, longest %s "+
		"(a goroutine that does nothing but read the clock, watched for %.1f s between the turns, while nothing else ran)\n",
		part.Stalls.PerSecond, measure.StallLeast, span(part.Stalls.Longest), part.Stalls.Watched/1e6)
}

func printManyKeys(out io.Writer, rows []ManyKeysRow) {
	t := table(out, "several keys at once, callers: 1", "candidate", "keys", "pairs/s", "p50", "p50 to one key", "commands")
	for _, r := range rows {
		t.row(r.Name, strconv.Itoa(r.Keys), whole(r.Rate), span(r.P50), hundredths(r.ToSingle), decimal(r.Commands))
	}
	t.end()
}

func printMemory(out io.Writer, rows []MemoryRow) {
	t := table(out, "memory, bytes for each", "candidate", "what", "count", "client heap", "client stack", "server", "served/s")
	for _, r := range rows {
		served := ""
		if r.ServedPerSecond > 0 {
			served = number(r.ServedPerSecond)
		}
		t.row(r.Name, r.What, strconv.Itoa(r.Count), number(r.Heap), number(r.Stack), number(r.Server), served)
	}
	t.end()
}

// columns is a table under way.
type columns struct{ w *tabwriter.Writer }

func table(out io.Writer, title string, heads ...string) columns {
	fmt.Fprintf(out, "\n%s\n", title)
	c := columns{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	c.row(heads...)
	return c
}

func (c columns) row(cells ...string) { fmt.Fprintln(c.w, "  "+strings.Join(cells, "\t")) }

func (c columns) end() { _ = c.w.Flush() } // it writes to memory

func number(f float64) string  { return strconv.FormatFloat(f, 'f', 0, 64) }
func decimal(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) }

func thousandths(f float64) string { return strconv.FormatFloat(f, 'f', 3, 64) }

func whole(s measure.Spread) string { return fmt.Sprintf("%.0f [%.0f, %.0f]", s.Median, s.Min, s.Max) }

func hundredths(s measure.Spread) string {
	return fmt.Sprintf("%.2f [%.2f, %.2f]", s.Median, s.Min, s.Max)
}

// span writes microseconds in the unit that is read best.
func span(micros float64) string {
	if micros < 1000 {
		return fmt.Sprintf("%.0f µs", micros)
	}
	return fmt.Sprintf("%.1f ms", micros/1000)
}
