package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

func watchCases() []storeCase {
	return []storeCase{
		{
			name: "WatchBeginsWithMissed",
			rule: "a watch tells first of all that notices may have been missed: whatever happens after that is told",
			why:  "I8: an instance knows when it has to look, once, and need not look again and again",
			run: func(r *rig) {
				l := r.watch(r.me, nil)
				r.wantNotices(l, "the beginning", func(list []store.Notice) bool { return len(list) > 0 && list[0] == store.Notice{Missed: true} })
			},
		},
		{
			name: "WatchTellsOfMessages",
			rule: "the owner of an execution is told of what is delivered to it, and no other instance",
			why:  "I8: an outside event is not waited for by looking",
			run: func(r *rig) {
				other := r.instance("other")
				mine, theirs := r.listen(r.me), r.listen(other)
				x, y := r.make("x"), r.make("y", ownedBy(other))
				r.wantTold(mine, "a message", store.Notice{Message: x.Key}, func(n int) {
					r.deliver(x.Key, fmt.Sprint(n))
					r.deliver(y.Key, fmt.Sprint(n))
				})
				r.wantTold(theirs, "a message", store.Notice{Message: y.Key}, func(n int) { r.deliver(y.Key, fmt.Sprint("again", n)) })
				if mine.has(store.Notice{Message: y.Key}) || theirs.has(store.Notice{Message: x.Key}) {
					r.Error("an instance was told of a message to an execution of another")
				}
			},
		},
		{
			name: "WatchTellsOfWhatMayBeClaimed",
			rule: "an instance is told when an execution may be claimed: when it is released, its instance was ended, it is let go due, or has a message that nobody is there for",
			why:  "I8: what nobody drives is taken on at once",
			run:  watchTellsOfClaimable,
		},
		{
			name: "WatchTellsOfTheFinished",
			rule: "an instance is told of each execution that finishes, whoever drove it",
			why:  "I9: whoever waits for its result may be elsewhere",
			run: func(r *rig) {
				other := r.instance("other")
				l := r.listen(other)
				r.put(r.write(r.make("running")))
				for _, state := range []store.ExecutionState{store.Done, store.Reverted, store.Failed} {
					for n := range watchRounds {
						x := r.make(fmt.Sprint(state, n))
						running := r.put(r.write(x))
						w := r.write(running)
						w.Head.State, w.Head.FinishedAt = state, r.now()
						r.put(w)
						if r.told(l, store.Notice{Finished: x.Key}) {
							break
						}
						if n == watchRounds-1 {
							r.Errorf("not told of any of %d that are %s; heard: %s", watchRounds, state, l.text())
						}
					}
				}
				for _, n := range l.list() {
					if n.Finished != (store.Key{}) && !r.load(n.Finished).State.Finished() {
						r.Errorf("told that %s has finished, which has not", n.Finished)
					}
				}
			},
		},
		{
			name: "WatchEndsWithItsContext",
			rule: "a watch ends when its context does, with the context's error, and tells nothing after it",
			why:  "I2: an instance that has stopped hears nothing more",
			run: func(r *rig) {
				l := r.listen(r.me)
				l.stop()
				err := <-l.ended
				l.ended <- err
				if !errors.Is(err, context.Canceled) {
					r.Errorf("Watch returned %v, want %v", err, context.Canceled)
				}
				before := len(l.list())
				r.deliver(r.make("x").Key, "m")
				r.finish(r.make("y"))
				r.release(r.me, r.make("z"))
				time.Sleep(10 * pollInterval)
				if after := len(l.list()); after != before {
					r.Errorf("%d notices after its end", after-before)
				}
			},
		},
		{
			name: "SlowListenerHoldsNobodyUp",
			rule: "an instance that is slow to hear keeps no call waiting, and hears what it was to be told, or that it has missed something",
			why:  "I8: an engine that hangs must not stop the others; what is lost is said to be",
			run:  slowListenerHoldsNobodyUp,
		},
	}
}

// watchRounds is how often something is done that an instance is to be told of: what it
// is told may get lost.
const watchRounds = 5

// listener is a watch, and what it has heard.
type listener struct {
	mu    sync.Mutex
	heard []store.Notice
	stop  context.CancelFunc
	ended chan error // has the answer of Watch
}

func (l *listener) list() []store.Notice {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.heard)
}

func (l *listener) has(n store.Notice) bool { return slices.Contains(l.list(), n) }

func (l *listener) count(n store.Notice) (count int) {
	for _, h := range l.list() {
		if h == n {
			count++
		}
	}
	return count
}

func (l *listener) text() string {
	var lines []string
	for _, n := range l.list() {
		lines = append(lines, fmt.Sprintf("%+v", n))
	}
	if len(lines) > 20 {
		lines = append(lines[:20], fmt.Sprintf("and %d more", len(lines)-20))
	}
	return strings.Join(lines, ", ")
}

// watch starts a watch. Before a notice is heard, hold is called where there is one.
func (r *rig) watch(i store.Instance, hold func()) *listener {
	ctx, stop := context.WithCancel(r.ctx)
	l := &listener{stop: stop, ended: make(chan error, 1)}
	go func() {
		l.ended <- r.s.Watch(ctx, i, func(n store.Notice) {
			if hold != nil {
				hold()
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.heard = append(l.heard, n)
		})
	}()
	r.Cleanup(func() {
		stop()
		<-l.ended
	})
	return l
}

// listen starts a watch, and waits until it has begun.
func (r *rig) listen(i store.Instance) *listener {
	r.Helper()
	l := r.watch(i, nil)
	r.wantNotices(l, "the watch has begun", func(list []store.Notice) bool { return len(list) > 0 })
	return l
}

func (r *rig) wantNotices(l *listener, what string, enough func([]store.Notice) bool) {
	r.Helper()
	r.eventually(what, func() (bool, string) {
		select {
		case err := <-l.ended:
			l.ended <- err
			r.Fatalf("Watch has ended: %v", err)
		default:
		}
		return enough(l.list()), l.text()
	})
}

// told waits a while for a notice.
func (r *rig) told(l *listener, n store.Notice) bool {
	deadline := time.Now().Add(r.patience / watchRounds)
	for !l.has(n) {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(pollInterval)
	}
	return true
}

// wantTold does something until the instance is told of it.
func (r *rig) wantTold(l *listener, what string, n store.Notice, do func(n int)) {
	r.Helper()
	for round := range watchRounds {
		do(round)
		if r.told(l, n) {
			return
		}
	}
	r.Errorf("%s happened %d times, and %+v was not told; heard: %s", what, watchRounds, n, l.text())
}

func watchTellsOfClaimable(r *rig) {
	claimable := store.Notice{Claimable: true}
	for what, do := range map[string]func(id string){
		"a release": func(id string) { r.release(r.me, r.make(id)) },
		"an end": func(id string) {
			old := r.instance("old")
			r.make(id, ownedBy(old))
			r.end(old)
		},
		"a write that lets one go that is due": func(id string) { r.letGo(r.make(id), r.now().Add(-time.Second)) },
		"a message to what nobody drives":      func(id string) { r.deliver(r.letGo(r.make(id), time.Time{}).Key, "m") },
		"a creation of one that is due":        func(id string) { r.make(id, ownedByNobody, dueAt(r.now().Add(-time.Second))) },
		"an end that leaves something to do":   func(id string) { r.finish(r.make(id), func(h *store.Head) { h.Unsettled = true }) },
	} {
		l := r.listen(r.me)
		r.wantTold(l, what, claimable, func(n int) { do(fmt.Sprint(what, n)) })
		l.stop()
	}
}

func slowListenerHoldsNobodyUp(r *rig) {
	const many = 200
	held := make(chan struct{})
	l := r.watch(r.me, func() { <-held })
	let := sync.OnceFunc(func() { close(held) })
	defer let()
	begun := r.listen(r.me) // by now the other one has begun, as far as anybody can tell
	var list []*store.Snapshot
	for i := range many {
		x := r.make(fmt.Sprint(i))
		r.deliver(x.Key, "m")
		list = append(list, x)
	}
	r.wantNotices(begun, "who listens hears of the last message", func([]store.Notice) bool {
		return begun.has(store.Notice{Message: list[many-1].Key}) || begun.count(store.Notice{Missed: true}) > 1
	})
	time.Sleep(10 * pollInterval) // the store has had the time to tell, or to lose, all of it
	let()
	r.wantNotices(l, "who was slow hears of all, or that it has missed some", func([]store.Notice) bool {
		if l.count(store.Notice{Missed: true}) > 1 {
			return true
		}
		for _, x := range list {
			if !l.has(store.Notice{Message: x.Key}) {
				return false
			}
		}
		return true
	})
}
