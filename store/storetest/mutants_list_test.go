package storetest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// onQuery breaks what is asked for.
func onQuery(change func(q *store.Query)) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{Store: s, list: func(ctx context.Context, q store.Query) (store.Page, error) {
			change(&q)
			return s.List(ctx, q)
		}}
	}
}

// onPage breaks what is answered.
func onPage(change func(s store.Store, page *store.Page)) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{Store: s, list: func(ctx context.Context, q store.Query) (store.Page, error) {
			page, err := s.List(ctx, q)
			change(s, &page)
			return page, err
		}}
	}
}

func listMutants() []mutant {
	ctx := context.Background()
	list := []mutant{
		{
			name: "the earliest is first", cases: []string{"ListHasTheLatestFirst", "ListSelects"},
			wrap: onPage(func(_ store.Store, page *store.Page) { slices.Reverse(page.Executions) }),
		},
		{
			name: "what is listed has all", cases: []string{"ListedHasAllButCellsAndInbox"},
			wrap: onPage(func(s store.Store, page *store.Page) {
				for i := range page.Executions {
					x, err := s.Load(ctx, page.Executions[i].Key)
					if err == nil {
						page.Executions[i] = *x
					}
				}
			}),
		},
		{
			name: "what is listed has no output", cases: []string{"ListedHasAllButCellsAndInbox"},
			wrap: onPage(func(_ store.Store, page *store.Page) {
				for i := range page.Executions {
					page.Executions[i].Output = nil
				}
			}),
		},
		{
			name: "zero is 50", cases: []string{"ListIsPaged"},
			wrap: onQuery(func(q *store.Query) {
				if q.Limit == 0 {
					q.Limit = 50
				}
			}),
		},
		{
			name: "zero is all", cases: []string{"ListIsPaged"},
			wrap: onQuery(func(q *store.Query) {
				if q.Limit == 0 {
					q.Limit = 100_000
				}
			}),
		},
		{
			name: "the last page has a cursor", cases: []string{"ListIsPaged"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, list: func(ctx context.Context, q store.Query) (store.Page, error) {
					if q.Cursor == "end" {
						return store.Page{}, nil
					}
					page, err := s.List(ctx, q)
					if page.Next == "" {
						page.Next = "end"
					}
					return page, err
				}}
			},
		},
		{
			name: "there is one page", cases: []string{"ListIsPaged", "PagesDivideOneInstant"},
			wrap: onPage(func(_ store.Store, page *store.Page) { page.Next = "" }),
		},
		{name: "a cursor is a number", cases: []string{"PagesAreStable"}, wrap: pagedByNumber},
		{name: "a cursor is a time", cases: []string{"PagesDivideOneInstant"}, wrap: pagedByTime},
		{
			name: "a bad cursor is the beginning", cases: []string{"BadCursorIsAnError"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, list: func(ctx context.Context, q store.Query) (store.Page, error) {
					page, err := s.List(ctx, q)
					if errors.Is(err, store.ErrCursor) {
						q.Cursor = ""
						return s.List(ctx, q)
					}
					return page, err
				}}
			},
		},
		{
			name: "a bad cursor is the end", cases: []string{"BadCursorIsAnError"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, list: func(ctx context.Context, q store.Query) (store.Page, error) {
					page, err := s.List(ctx, q)
					if errors.Is(err, store.ErrCursor) {
						err = nil
					}
					return page, err
				}}
			},
		},
	}
	for what, change := range map[string]func(q *store.Query){
		"the workflow is not looked at":      func(q *store.Query) { q.Workflow = "" },
		"states are not looked at":           func(q *store.Query) { q.States = nil },
		"the first state alone is looked at": func(q *store.Query) { q.States = q.States[:min(len(q.States), 1)] },
		"Since is not looked at":             func(q *store.Query) { q.Since = time.Time{} },
		"Since itself is left out":           func(q *store.Query) { q.Since = q.Since.Add(1) },
		"Until is not looked at":             func(q *store.Query) { q.Until = time.Time{} },
		"Until itself is selected": func(q *store.Query) {
			if !q.Until.IsZero() {
				q.Until = q.Until.Add(1)
			}
		},
	} {
		list = append(list, mutant{name: what, cases: []string{"ListSelects"}, wrap: onQuery(change)})
	}
	return list
}

// pagedByNumber counts executions from the first one on.
func pagedByNumber(s store.Store) store.Store {
	return &faulty{Store: s, list: func(ctx context.Context, q store.Query) (store.Page, error) {
		from, _ := strconv.Atoi(q.Cursor)
		limit := q.Limit
		q.Cursor, q.Limit = "", 100_000
		page, err := s.List(ctx, q)
		all := page.Executions
		page.Executions = all[min(from, len(all)):min(from+limit, len(all))]
		if from+limit < len(all) {
			page.Next = strconv.Itoa(from + limit)
		}
		return page, err
	}}
}

// pagedByTime goes on before the time of the last one.
func pagedByTime(s store.Store) store.Store {
	return &faulty{Store: s, list: func(ctx context.Context, q store.Query) (store.Page, error) {
		if q.Cursor != "" {
			n, _ := strconv.ParseInt(q.Cursor, 10, 64)
			q.Until, q.Cursor = time.Unix(0, n), ""
		}
		page, err := s.List(ctx, q)
		if page.Next != "" {
			page.Next = strconv.FormatInt(page.Executions[len(page.Executions)-1].CreatedAt.UnixNano(), 10)
		}
		return page, err
	}}
}

func forgetMutants() []mutant {
	return []mutant{
		{
			name: "nothing is forgotten", cases: []string{"ForgetDeletesTheFinished", "UnfinishedIsNotForgotten", "ForgottenKeyIsFree"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, forget: func(context.Context, store.Key, string) error { return nil }}
			},
		},
		{name: "the unfinished is forgotten", cases: []string{"UnfinishedIsNotForgotten"}, wrap: forgettingAll},
		{
			name: "runs are not looked at", cases: []string{"AnotherRunIsNotForgotten"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, forget: func(ctx context.Context, key store.Key, run string) error {
					if x, err := s.Load(ctx, key); err == nil {
						run = x.RunUID
					}
					return s.Forget(ctx, key, run)
				}}
			},
		},
		{name: "the inbox outlives its execution", cases: []string{"ForgottenKeyIsFree"}, wrap: outliving(func(old, x *store.Snapshot) { x.Inbox = old.Inbox })},
		{name: "cells outlive their execution", cases: []string{"ForgottenKeyIsFree"}, wrap: outliving(func(old, x *store.Snapshot) { x.Cells = append(slices.Clone(old.Cells), x.Cells...) })},
		{name: "the due time outlives its execution", cases: []string{"ForgottenKeyIsFree"}, wrap: outliving(func(old, x *store.Snapshot) { x.DueAt = old.DueAt })},
		{
			name: "the last write outlives its execution", cases: []string{"ForgottenKeyIsFree"},
			wrap: answered(func(w store.Write) store.Fence { return w.Fence }),
		},
		{
			name: "ForgetAt is not looked at", cases: []string{"RetainedUntilItIsDue", "UnsettledIsRetained", "ResumedIsRetained", "LaterRunIsRetained"},
			wrap: onHead(func(h *store.Head) { h.ForgetAt = time.Time{} }),
		},
		{
			name: "what is to be forgotten is forgotten soon", cases: []string{"RetainedUntilItIsDue"},
			wrap: onHead(func(h *store.Head) {
				if !h.ForgetAt.IsZero() {
					h.ForgetAt = h.ForgetAt.Add(-700 * time.Millisecond)
				}
			}),
		},
		{
			name: "what has finished is to be forgotten", cases: []string{"RetainedUntilItIsDue"},
			wrap: onHead(func(h *store.Head) {
				if h.State.Finished() && h.ForgetAt.IsZero() {
					h.ForgetAt = time.Now()
				}
			}),
		},
		{
			name: "what is due is gone, be it open or not", cases: []string{"UnsettledIsRetained"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, load: func(ctx context.Context, key store.Key) (*store.Snapshot, error) {
					x, err := s.Load(ctx, key)
					if err == nil && !x.ForgetAt.IsZero() && x.ForgetAt.Before(time.Now()) {
						return nil, store.ErrNotFound
					}
					return x, err
				}}
			},
		},
		{name: "the time to forget a key stays", cases: []string{"ResumedIsRetained", "LaterRunIsRetained"}, wrap: forgettingKeys},
	}
}

// forgettingAll forgets what has not finished, too.
func forgettingAll(s store.Store) store.Store {
	gone := map[store.Key]bool{}
	return &faulty{
		Store: s,
		forget: func(_ context.Context, key store.Key, _ string) error {
			gone[key] = true
			return nil
		},
		load: func(ctx context.Context, key store.Key) (*store.Snapshot, error) {
			if gone[key] {
				return nil, store.ErrNotFound
			}
			return s.Load(ctx, key)
		},
	}
}

// outliving has a later execution begin with something of the one before.
func outliving(take func(old, x *store.Snapshot)) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		before := map[store.Key]*store.Snapshot{}
		return &faulty{
			Store: s,
			forget: func(ctx context.Context, key store.Key, run string) error {
				if x, err := s.Load(ctx, key); err == nil {
					before[key] = x
				}
				return s.Forget(ctx, key, run)
			},
			create: func(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
				given := *x
				if old := before[x.Key]; old != nil {
					take(old, &given)
				}
				return s.Create(ctx, &given)
			},
		}
	}
}

// forgettingKeys keeps the first time at which each key was to be forgotten.
func forgettingKeys(s store.Store) store.Store {
	at := map[store.Key]time.Time{}
	note := func(key store.Key, h *store.Head) {
		if h.State.Finished() && !h.ForgetAt.IsZero() && at[key].IsZero() {
			at[key] = h.ForgetAt
		}
	}
	return &faulty{
		Store: s,
		create: func(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
			note(x.Key, &x.Head)
			return s.Create(ctx, x)
		},
		commit: func(ctx context.Context, w store.Write) error {
			note(w.Key, &w.Head)
			return one(ctx, s, w)
		},
		load: func(ctx context.Context, key store.Key) (*store.Snapshot, error) {
			if due := at[key]; !due.IsZero() && !due.After(time.Now()) {
				return nil, store.ErrNotFound
			}
			return s.Load(ctx, key)
		},
	}
}
