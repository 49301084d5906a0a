package executions

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
	if len(r.Memory) > 0 {
		line("three steps in memory\texecutions/s\tp50\tp99\tCPU\tallocations\tbytes")
		for _, row := range r.Memory {
			line("%d callers\t%.0f (%.0f-%.0f)\t%s\t%s\t%s\t%.1f\t%.0f", row.Callers, row.Rate.Median, row.Rate.Min, row.Rate.Max,
				row.P50.Round(100*time.Nanosecond), row.P99.Round(100*time.Nanosecond), row.CPU.Round(100*time.Nanosecond), row.Allocations, row.Bytes)
		}
	}
	if len(r.Long) > 0 {
		line("steps in turn\tns a step\tto ten steps")
		for _, row := range r.Long {
			line("%d\t%.0f (%.0f-%.0f)\t%.2f", row.Steps, row.Cost.Median, row.Cost.Min, row.Cost.Max, row.ToTen.Median)
		}
	}
	if p := r.Parked; p != nil {
		line("executions that wait for one lock\tMiB\tgoroutines\tserved in")
		line("%d\t%.1f\t%d\t%s", p.Executions, p.MiB, p.Goroutines, p.Served.Round(time.Millisecond))
	}
	if len(r.SQLite) > 0 {
		line("three steps on SQLite\tcallers\tworkflows/s\tto the floor\tp50\tp99\tCPU\tallocations\tbytes")
		for _, row := range r.SQLite {
			line("%s, %s\t%d\t%.0f (%.0f-%.0f)\t%.2f\t%s\t%s\t%s\t%.0f\t%.0f", row.Sync, row.Name, row.Callers, row.Rate.Median, row.Rate.Min, row.Rate.Max,
				row.ToFloor.Median, row.P50.Round(time.Microsecond), row.P99.Round(time.Microsecond), row.CPU.Round(time.Microsecond), row.Allocations, row.Bytes)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, s := range r.SQLiteSettings {
		if _, err := fmt.Fprintf(out, "%s: %s\n", s.Name, s.Text); err != nil {
			return err
		}
	}
	for _, b := range r.Budgets {
		if _, err := fmt.Fprintln(out, b); err != nil {
			return err
		}
	}
	return nil
}
