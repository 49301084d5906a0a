package storesqlite

import (
	"database/sql/driver"
	"strings"
	"testing"
)

// looksAtAll are the statements that go through all of a table, or of an index, and why
// they may.
var looksAtAll = map[statement]string{
	allWorkflows: "the writer learns all, once",
	allPlans:     "the writer learns all, once",
	allInstances: "the writer learns all, once",
	queuesLater:  "of the few tasks whose time is to come, when something falls due",
	pausedQueues: "an operator asks, and there are few queues",

	countTasksOfQueues: "an operator asks",

	unread: "of the few messages that wait, when notices may have been lost",
}

func TestNoStatementLooksAtMoreThanItIsAbout(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{})
	within(t, s, func(w *writer) error {
		for q, text := range texts {
			if strings.HasPrefix(text, "BEGIN") || text == "COMMIT" || text == "ROLLBACK" {
				continue
			}
			var args []any
			for range strings.Count(text, "?") {
				args = append(args, nil)
			}
			scans := false
			err := w.conn.ask("EXPLAIN QUERY PLAN "+text, func(row []driver.Value) error {
				step := asText(row[3])
				scans = scans || strings.HasPrefix(step, "SCAN")
				return nil
			}, args...)
			if err != nil {
				t.Errorf("%q: %v", text, err)
			}
			if reason := looksAtAll[statement(q)]; scans != (reason != "") {
				t.Errorf("%s\nlooks at all: %t; it may: %q", text, scans, reason)
			}
		}
		return nil
	})
}
