package restart

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Print writes the report as tables, and the budgets.
func (r *Report) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\t\n", args...) } // Flush tells
	short := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	if len(r.Unfinished) > 0 {
		line("unfinished when their process was\texecutions\topened\tfirst body\tall ended\tat once\tVmHWM MiB\tVmRSS MiB")
		for _, row := range r.Unfinished {
			line("%s\t%d\t%s\t%s\t%s\t%d\t%.0f\t%.0f", row.Left, row.Executions, short(row.Opened), short(row.First), short(row.All), row.AtWork, row.Memory.Most, row.Memory.Now)
		}
	}
	if s := r.Sleeping; s != nil {
		line("executions that sleep\tinserted\tCPU\tVmHWM MiB\topened again\tVmHWM MiB\tlate, same process\tnext process\tstarted there")
		line("%d\t%s\t%s\t%.0f\t%s\t%.0f\t%s\t%s\t%s", s.Executions, short(s.Inserted), short(s.CPU), s.Memory.Most, short(s.Opened), s.Reopened.Most,
			s.Late.Same.Round(100*time.Microsecond), s.Late.After.Round(100*time.Microsecond), s.Late.Fresh.Round(100*time.Microsecond))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, b := range r.Budgets {
		if _, err := fmt.Fprintln(out, b); err != nil {
			return err
		}
	}
	return nil
}
