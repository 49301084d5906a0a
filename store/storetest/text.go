package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// text writes all that is kept of an execution, a line for each field. Two executions
// are the same when their texts are.
func text(x *store.Snapshot) string {
	if x == nil {
		return "nothing"
	}
	var b strings.Builder
	line := func(name string, v any) {
		switch v := v.(type) {
		case []byte:
			fmt.Fprintf(&b, "%s %s\n", name, bytesText(v))
		case time.Time:
			fmt.Fprintf(&b, "%s %s\n", name, v.Format(time.RFC3339Nano))
		default:
			fmt.Fprintf(&b, "%s %q\n", name, fmt.Sprint(v))
		}
	}
	line("key", x.Key)
	line("run", x.RunUID)
	line("fingerprint", x.Fingerprint)
	line("codec", x.Codec)
	line("input", x.Input)
	line("input's hash", x.InputHash)
	line("generated", x.Generated)
	line("created at", x.CreatedAt)
	line("deadline", x.Deadline)
	if x.Parent == nil {
		line("parent", "none")
	} else {
		line("parent", fmt.Sprintf("%s %q %v", x.Parent.Key, x.Parent.RunUID, x.Parent.Place))
	}
	line("fence", fenceText(x.Fence))
	line("state", x.State)
	line("due at", x.DueAt)
	line("unsettled", x.Unsettled)
	line("holding", x.Holding)
	line("cancelled at", x.CancelledAt)
	line("finished at", x.FinishedAt)
	line("forget at", x.ForgetAt)
	line("output", x.Output)
	line("frames", x.Frames)
	for _, c := range x.Cells {
		line(fmt.Sprintf("cell %x", uint64(c.ID)), c.Data)
	}
	for _, m := range x.Inbox {
		line(fmt.Sprintf("message %q", m.ID), m.Data)
	}
	for _, t := range x.Tasks {
		line(fmt.Sprintf("task %q of %q, %d, %s", t.ID, t.Queue, t.Priority, t.NotBefore), t.Data)
	}
	return b.String()
}

func bytesText(b []byte) string {
	switch {
	case b == nil:
		return "nil"
	case len(b) > 100:
		return fmt.Sprintf("%d bytes, %.40q...%.40q, sum %x", len(b), b, b[len(b)-20:], sum(b))
	}
	return fmt.Sprintf("%q", b)
}

func sum(b []byte) (s uint64) {
	for _, c := range b {
		s = s*31 + uint64(c)
	}
	return s
}

func fenceText(f store.Fence) string {
	return fmt.Sprintf("owner %q epoch %d revision %d", f.Owner, f.Epoch, f.Revision)
}

// same expects two executions to be the same.
func (r *rig) same(what string, got, want *store.Snapshot) {
	r.Helper()
	if text(got) == text(want) {
		return
	}
	gots, wants := strings.Split(text(got), "\n"), strings.Split(text(want), "\n")
	var lines []string
	for _, l := range gots {
		if !slices.Contains(wants, l) {
			lines = append(lines, "is:    "+l)
		}
	}
	for _, l := range wants {
		if !slices.Contains(gots, l) {
			lines = append(lines, "wanted: "+l)
		}
	}
	if len(lines) == 0 {
		lines = append(lines, "the lines are those that were wanted, in another order or number:", text(got))
	}
	r.Errorf("%s is not what it should be:\n%s", what, strings.Join(lines[:min(len(lines), 20)], "\n"))
}
