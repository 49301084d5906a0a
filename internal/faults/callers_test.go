package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"

	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

// callers ask for executions: for those that were asked for before and whose end nobody
// has heard, for some whose end was heard, and for new ones.
type callers struct {
	c *child

	mu    sync.Mutex
	open  []string // asked for, and not answered
	told  []string // answered
	next  int
	again int // how many more of those are asked for again that were answered
}

func newCallers(c *child, before []note) *callers {
	l := &callers{c: c, again: 20}
	ended := map[string]bool{}
	for _, n := range before {
		if n.What == answered {
			ended[n.Root] = true
		}
	}
	seen := map[string]bool{}
	for _, n := range before {
		if n.What != asks || seen[n.Root] {
			continue
		}
		seen[n.Root] = true
		_, number := l.parse(n.Root)
		l.next = max(l.next, number+1)
		if ended[n.Root] {
			l.told = append(l.told, n.Root)
		} else {
			l.open = append(l.open, n.Root)
		}
	}
	return l
}

// parse reads what next has written.
func (l *callers) parse(root string) (kind, int) {
	name, digits, _ := strings.Cut(root, "-")
	number, err := strconv.Atoi(digits)
	for _, k := range l.c.kinds {
		if k.name == name && err == nil {
			return k, number
		}
	}
	panic("faults: no execution is called " + root)
}

// choose returns what is to be asked for, and whether somebody waits for its end.
func (l *callers) choose() (root string, wait, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.again > 0 && len(l.told) > 0:
		l.again--
		return l.told[rand.IntN(len(l.told))], true, true
	case len(l.open) > 0 && (l.c.Last || len(l.open) > l.c.Callers || rand.IntN(2) == 0):
		root, l.open = l.open[0], l.open[1:]
		return root, true, true
	case l.c.Last:
		return "", false, false
	}
	root = fmt.Sprint(l.c.kinds[l.next%len(l.c.kinds)].name, "-", l.next)
	l.next++
	if wait = rand.IntN(3) > 0; !wait {
		l.open = append(l.open, root)
	}
	return root, wait, true
}

// work asks, for as long as there is something to ask for, and the engine answers.
func (l *callers) work(ctx context.Context) error {
	for {
		root, wait, ok := l.choose()
		if !ok {
			return nil
		}
		k, number := l.parse(root)
		in := pass{Root: root, Job: jobOf(l.c.Seed, k, number)}
		l.c.world.notes.add(note{What: asks, Root: root})
		if !wait {
			if _, err := workflow.Start(ctx, l.c.engine, k.flow, in, workflow.WithExecutionID(root)); err != nil {
				return fmt.Errorf("start %s: %w", root, err)
			}
			continue
		}
		out, err := workflow.Run(ctx, l.c.engine, k.flow, in, workflow.WithExecutionID(root))
		n, ok := answer(root, out, err)
		if !ok {
			return fmt.Errorf("run %s: %w", root, err)
		}
		l.c.world.notes.add(n)
	}
}

// answer is what a caller was told, if that is the end of the execution.
func answer(root string, out pass, err error) (n note, ok bool) {
	n = note{What: answered, Root: root, By: out.By, State: store.Done}
	if err == nil {
		return n, true
	}
	x, ok := errors.AsType[*workflow.ExecutionError](err)
	if !ok {
		return n, false
	}
	n.State, n.Error = x.State, err.Error()
	_, n.Crash = errors.AsType[*workflow.CrashLoopError](err)
	n.Planned, n.Lost = errors.Is(err, errPlanned), errors.Is(err, workflow.ErrGuardLost)
	return n, true
}
