package simulation

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// entry is something that happened.
type entry struct {
	at     time.Duration
	who    string
	format string
	args   []any // nothing that changes
	aside  bool  // what engines say: it is no part of the digest
}

func (e *entry) text(names *strings.Replacer) string {
	return names.Replace(fmt.Sprintf("%12.6fs  %-6s ", e.at.Seconds(), e.who) + fmt.Sprintf(e.format, e.args...))
}

// logf notes what happens. It requires mu.
func (w *world) logf(who, format string, args ...any) {
	w.log = append(w.log, entry{at: w.now(), who: who, format: format, args: args})
}

// asidef is logf for what depends on the order in which goroutines run. It requires mu.
func (w *world) asidef(who, format string, args ...any) {
	w.log = append(w.log, entry{at: w.now(), who: who, format: format, args: args, aside: true})
}

func (w *world) now() time.Duration { return time.Since(w.began) }

// names replaces what is different each time, such as the ids that engines make.
func (w *world) names() *strings.Replacer {
	var pairs []string
	for uid, name := range w.uids {
		pairs = append(pairs, uid, name)
	}
	return strings.NewReplacer(pairs...)
}

// lines returns all that happened, in an order that does not depend on how goroutines
// were scheduled at one moment.
func (w *world) lines(aside bool) []string {
	names := w.names()
	list := make([]string, 0, len(w.log))
	for i := range w.log {
		if aside || !w.log[i].aside {
			list = append(list, w.log[i].text(names))
		}
	}
	if !aside {
		slices.Sort(list)
	}
	return list
}

// digest tells two histories apart.
func (w *world) digest() string {
	h := sha256.New()
	for _, l := range w.lines(false) {
		h.Write([]byte(l))
		h.Write([]byte{'\n'})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
