package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// newRun gives each creation a run of its own.
func newRun() func(x *store.Snapshot) {
	var n atomic.Int64
	return func(x *store.Snapshot) { x.RunUID = fmt.Sprint("own ", n.Add(1)) }
}

func createMutants() []mutant {
	list := []mutant{
		{
			name: "a creation counts as a claim", cases: []string{"CreatedHasTheFirstEpochAndRevision"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, create: func(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
					existing, err := s.Create(ctx, x)
					plan := store.PlanID{Workflow: x.Workflow, Fingerprint: x.Fingerprint}
					_, _ = s.Claim(ctx, store.Claim{Instance: x.Owner, Plans: []store.PlanID{plan}, Keys: []store.Key{x.Key}})
					return existing, err
				}}
			},
		},
		{
			name: "a create of a taken key returns what it is given", cases: []string{"TakenKeyReturnsWhatIsThere", "OneOfManyCreatorsWins"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, create: func(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
					existing, err := s.Create(ctx, x)
					if existing != nil {
						existing = x
					}
					return existing, err
				}}
			},
		},
		{
			name: "a create of a taken key succeeds", cases: []string{"TakenKeyReturnsWhatIsThere", "OneOfManyCreatorsWins"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, create: func(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
					_, err := s.Create(ctx, x)
					return nil, err
				}}
			},
		},
		{
			name: "a repeated create finds what the first has made", cases: []string{"CreateIsRepeatedByItsRun"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, create: func(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
					if existing, err := s.Load(ctx, x.Key); err == nil {
						return existing, nil
					}
					return s.Create(ctx, x)
				}}
			},
		},
		{
			name: "whoever creates has a lease", cases: []string{"CreatorHasALease"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, create: func(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
					existing, err := s.Create(ctx, x)
					if errors.Is(err, store.ErrInstance) {
						free := *x
						free.Owner = store.Instance{}
						return s.Create(ctx, &free)
					}
					return existing, err
				}}
			},
		},
		{
			name: "a create is refused when it was made", cases: []string{"CreatorHasALease"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, create: func(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
					existing, err := s.Create(ctx, x)
					if errors.Is(err, store.ErrInstance) {
						free := *x
						free.Owner = store.Instance{}
						_, _ = s.Create(ctx, &free)
					}
					return existing, err
				}}
			},
		},
		{
			name: "only the living are told of what is there", cases: []string{"WhatIsThereIsAnsweredWithoutALease"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, create: func(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
					c := store.Claim{Instance: x.Owner, Keys: []store.Key{{ID: "none"}}}
					if _, err := s.Claim(ctx, c); err != nil && !x.Owner.None() {
						return nil, err
					}
					return s.Create(ctx, x)
				}}
			},
		},
		{
			name: "what nobody is to own its creator owns", cases: []string{"CreatedByNobodyWaitsUntilItIsDue"},
			wrap: func(s store.Store) store.Store {
				me := store.Instance{Node: "creator"}
				_ = s.Heartbeat(context.Background(), me, forLong)
				return onCreate(func(x *store.Snapshot) { x.Owner = me })(s)
			},
		},
		{
			name: "what nobody owns is due at once", cases: []string{"CreatedByNobodyWaitsUntilItIsDue"},
			wrap: onCreate(func(x *store.Snapshot) { x.DueAt = time.Unix(1, 0) }),
		},
	}
	for what, change := range map[string]func(x *store.Snapshot){
		"the fingerprint": func(x *store.Snapshot) { x.Fingerprint = "" },
		"the codec":       func(x *store.Snapshot) { x.Codec = "json" },
		"the input":       func(x *store.Snapshot) { x.Input = nil },
		"the hash":        func(x *store.Snapshot) { x.InputHash = nil },
		"Generated":       func(x *store.Snapshot) { x.Generated = false },
		"CreatedAt":       func(x *store.Snapshot) { x.CreatedAt = time.Now() },
		"the deadline":    func(x *store.Snapshot) { x.Deadline = time.Time{} },
		"the parent":      func(x *store.Snapshot) { x.Parent = nil },
		"the place":       func(x *store.Snapshot) { x.Parent = &store.Parent{Key: x.Parent.Key, RunUID: x.Parent.RunUID} },
		"the state":       func(x *store.Snapshot) { x.State = store.NotStarted },
		"DueAt":           func(x *store.Snapshot) { x.DueAt = time.Time{} },
		"Unsettled":       func(x *store.Snapshot) { x.Unsettled = false },
		"CancelledAt":     func(x *store.Snapshot) { x.CancelledAt = time.Time{} },
		"FinishedAt":      func(x *store.Snapshot) { x.FinishedAt = time.Time{} },
		"ForgetAt":        func(x *store.Snapshot) { x.ForgetAt = time.Time{} },
		"the output":      func(x *store.Snapshot) { x.Output = nil },
		"the frames":      func(x *store.Snapshot) { x.Frames = 0 },
		"a cell":          func(x *store.Snapshot) { x.Cells = x.Cells[1:] },
		"the inbox":       func(x *store.Snapshot) { x.Inbox = nil },
		"the owner":       func(x *store.Snapshot) { x.Owner = store.Instance{} },
	} {
		list = append(list, mutant{name: what + " is lost", cases: []string{"CreatedIsKeptAsItWas"}, wrap: onCreate(change)})
	}
	for what, f := range map[string]func(k store.Key) store.Key{
		"case and blanks":        eachName(func(s string) string { return strings.ToLower(strings.TrimSpace(s)) }),
		"what follows a NUL":     eachName(func(s string) string { before, _, _ := strings.Cut(s, "\x00"); return before }),
		"what is not UTF-8":      eachName(func(s string) string { return strings.ToValidUTF8(s, "\ufffd") }),
		"what parts them":        func(k store.Key) store.Key { return store.Key{ID: k.Workflow + ":" + k.ID} },
		"the workflow":           func(k store.Key) store.Key { return store.Key{ID: k.ID} },
		"what is outside braces": eachName(insideBraces),
	} {
		list = append(list, mutant{name: "keys lose " + what, cases: []string{"AnyBytesMakeAKey"}, wrap: renamed(f)})
	}
	return list
}

// insideBraces takes a hash tag for the whole.
func insideBraces(s string) string {
	if _, after, ok := strings.Cut(s, "{"); ok {
		if inner, _, ok := strings.Cut(after, "}"); ok && inner != "" {
			return inner
		}
	}
	return s
}

func eachName(f func(string) string) func(k store.Key) store.Key {
	return func(k store.Key) store.Key { return store.Key{Workflow: f(k.Workflow), ID: f(k.ID)} }
}

// renamed keeps executions under other keys than they are asked for.
func renamed(f func(k store.Key) store.Key) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{
			Store: s,
			create: func(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
				given := *x
				given.Key = f(x.Key)
				return s.Create(ctx, &given)
			},
			load: func(ctx context.Context, key store.Key) (*store.Snapshot, error) {
				x, err := s.Load(ctx, f(key))
				if err == nil {
					x.Key = key
				}
				return x, err
			},
			deliver: func(ctx context.Context, key store.Key, m store.Message) error { return s.Deliver(ctx, f(key), m) },
			claim: func(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
				asked := c.Keys[0]
				c.Keys = []store.Key{f(asked)}
				c.Plans = []store.PlanID{{Workflow: c.Keys[0].Workflow, Fingerprint: c.Plans[0].Fingerprint}}
				list, err := s.Claim(ctx, c)
				for i := range list {
					list[i].Key = asked
				}
				return list, err
			},
		}
	}
}

// onBytes breaks all bytes that are created, written and delivered.
func onBytes(f func(b []byte) []byte) func(store.Store) store.Store {
	cells := func(list []store.Cell) []store.Cell {
		list = slices.Clone(list)
		for i := range list {
			list[i].Data = f(list[i].Data)
		}
		return list
	}
	return func(s store.Store) store.Store {
		return &faulty{
			Store: onCreate(func(x *store.Snapshot) {
				x.Input, x.InputHash, x.Output, x.Cells = f(x.Input), f(x.InputHash), f(x.Output), cells(x.Cells)
			})(onWrite(func(_ store.Store, w *store.Write) { w.Head.Output, w.Cells = f(w.Head.Output), cells(w.Cells) })(s)),
			deliver: func(ctx context.Context, key store.Key, m store.Message) error {
				m.Data = f(m.Data)
				return s.Deliver(ctx, key, m)
			},
		}
	}
}

// onTimes breaks all times that are created and written.
func onTimes(f func(t time.Time) time.Time) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return onCreate(func(x *store.Snapshot) { x.CreatedAt, x.Deadline = f(x.CreatedAt), f(x.Deadline) })(onHead(func(h *store.Head) {
			h.DueAt, h.CancelledAt, h.FinishedAt, h.ForgetAt = f(h.DueAt), f(h.CancelledAt), f(h.FinishedAt), f(h.ForgetAt)
		})(s))
	}
}

func bytesMutants() []mutant {
	return []mutant{
		{
			name: "empty is nil", cases: []string{"NilAndEmptyStayApart"},
			wrap: onBytes(func(b []byte) []byte { return append([]byte(nil), b...) }),
		},
		{
			name: "nil is empty", cases: []string{"NilAndEmptyStayApart"},
			wrap: onBytes(func(b []byte) []byte { return append([]byte{}, b...) }),
		},
		{
			name: "bytes are text", cases: []string{"AnyBytesAreKept"},
			wrap: onBytes(func(b []byte) []byte { return bytes.ToValidUTF8(b, []byte("\ufffd")) }),
		},
		{
			name: "times are kept to the microsecond", cases: []string{"TimesAreKeptToTheNanosecond"},
			wrap: onTimes(func(t time.Time) time.Time { return t.Truncate(time.Microsecond) }),
		},
		{
			name: "times are nanoseconds since 1970", cases: []string{"TimesAreKeptToTheNanosecond"},
			wrap: onTimes(func(t time.Time) time.Time {
				if t.IsZero() {
					return t
				}
				return time.Unix(0, t.UnixNano())
			}),
		},
		{
			name: "1970 is no time", cases: []string{"TimesAreKeptToTheNanosecond"},
			wrap: onTimes(func(t time.Time) time.Time {
				if t.UnixNano() == 0 {
					return time.Time{}
				}
				return t
			}),
		},
		{
			name: "times are returned in local time", cases: []string{"TimesAreKeptToTheNanosecond"},
			wrap: onLoad(func(x *store.Snapshot) { x.DueAt = x.DueAt.In(time.FixedZone("here", 3600)) }),
		},
		{
			name: "64 KiB are enough", cases: []string{"LargeCellsAreKept"},
			wrap: onBytes(func(b []byte) []byte { return b[:min(len(b), 64<<10)] }),
		},
		{
			name: "cells are in no order", cases: []string{"ManyCellsAreKeptInOrder"},
			wrap: onLoad(func(x *store.Snapshot) { slices.Reverse(x.Cells) }),
		},
		{
			name: "1,000 cells are enough", cases: []string{"ManyCellsAreKeptInOrder"},
			wrap: onCreate(func(x *store.Snapshot) { x.Cells = x.Cells[:min(len(x.Cells), 1000)] }),
		},
		{
			name: "cells with the low half of their ids alone are told apart", cases: []string{"ManyCellsAreKeptInOrder", "CreatedIsKeptAsItWas"},
			wrap: onCreate(func(x *store.Snapshot) {
				x.Cells = slices.Clone(x.Cells)
				for i := range x.Cells {
					x.Cells[i].ID &= 1<<32 - 1
				}
			}),
		},
		{name: "what is created is kept", cases: []string{"WhatIsGivenIsCopied"}, wrap: keepingGiven},
		{name: "what is written is kept", cases: []string{"WhatIsGivenIsCopied"}, wrap: keepingWritten},
		{name: "what is delivered is kept", cases: []string{"WhatIsGivenIsCopied"}, wrap: keepingDelivered},
		{name: "what is loaded is kept", cases: []string{"WhatIsReturnedIsACopy"}, wrap: keepingLoaded},
	}
}

// keepingGiven shares the memory of the input with who has created it.
func keepingGiven(s store.Store) store.Store {
	var input []byte
	f := onLoad(func(x *store.Snapshot) { x.Input = input })(s).(*faulty)
	f.create = func(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
		input = x.Input
		return s.Create(ctx, x)
	}
	return f
}

// keepingWritten shares the memory of the output with who has written it.
func keepingWritten(s store.Store) store.Store {
	var output []byte
	f := onLoad(func(x *store.Snapshot) {
		if output != nil {
			x.Output = output
		}
	})(s).(*faulty)
	f.commit = func(ctx context.Context, w store.Write) error {
		output = w.Head.Output
		return one(ctx, s, w)
	}
	return f
}

// keepingDelivered shares the memory of a message with who has delivered it.
func keepingDelivered(s store.Store) store.Store {
	var data []byte
	f := onLoad(func(x *store.Snapshot) {
		if data != nil {
			x.Inbox[len(x.Inbox)-1].Data = data
		}
	})(s).(*faulty)
	f.deliver = func(ctx context.Context, key store.Key, m store.Message) error {
		data = m.Data
		return s.Deliver(ctx, key, m)
	}
	return f
}

// keepingLoaded returns the same memory to all who load one revision.
func keepingLoaded(s store.Store) store.Store {
	type version struct {
		key store.Key
		at  store.Fence
	}
	var mu sync.Mutex
	kept := map[version]*store.Snapshot{}
	return &faulty{Store: s, load: func(ctx context.Context, key store.Key) (*store.Snapshot, error) {
		x, err := s.Load(ctx, key)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		v := version{key, x.Fence}
		if kept[v] == nil {
			kept[v] = x
		}
		same := *kept[v]
		same.Fence, same.Head = x.Fence, x.Head
		return &same, nil
	}}
}
