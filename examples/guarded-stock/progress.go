package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/google/uuid"
)

// progress is a bar on a terminal, and a line per quarter elsewhere.
type progress struct {
	out      io.Writer
	total    int
	terminal bool
	shown    int
}

func newProgress(out io.Writer, total int) *progress {
	return &progress{out: out, total: total, terminal: isTerminal(out)}
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (p *progress) show(done int) {
	if p.total == 0 {
		return
	}
	if p.terminal {
		const width = 40
		full := done * width / p.total
		fmt.Fprintf(p.out, "\r[%s%s] %d/%d", strings.Repeat("#", full), strings.Repeat("-", width-full), done, p.total)
		p.shown = done
		return
	}
	if quarter := done * 4 / p.total; quarter > p.shown {
		p.shown = quarter
		fmt.Fprintf(p.out, "%d of %d orders done\n", done, p.total)
	}
}

func (p *progress) end() {
	if p.terminal {
		fmt.Fprintln(p.out)
	}
}

func announce(out io.Writer, set settings) {
	lock := "in memory"
	if set.redisURL != "" {
		lock = "on Redis"
	}
	how := "each order locks its product " + lock
	if set.unguarded {
		how = "UNGUARDED: no order locks anything (stock " + lock + ")"
	}
	fmt.Fprintf(out, "%d orders for %d pieces of %d product(s), %d process(es) of %d workers; %s\n",
		set.orders, set.stock, set.products, set.processes, set.workers, how)
}

// plainHandler prints a log message and nothing else.
type plainHandler struct{ out io.Writer }

func quietLogger(out io.Writer) *slog.Logger { return slog.New(plainHandler{out}) }

func (h plainHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (h plainHandler) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	_, err := fmt.Fprintln(h.out, line)
	return err
}

func (h plainHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h plainHandler) WithGroup(string) slog.Handler      { return h }

func runName() string { return uuid.NewString()[:8] }
