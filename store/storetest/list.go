package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

func listCases() []storeCase {
	return []storeCase{
		{
			name: "ListHasTheLatestFirst",
			rule: "executions are listed by the time of their creation, the latest first, in whatever order they were created",
			why:  "I8: what is looked for most often is what was begun last",
			run: func(r *rig) {
				for _, i := range []int{3, 0, 4, 1, 2} {
					r.makeAt(i)
				}
				r.wantListed("all", store.Query{}, "4", "3", "2", "1", "0")
			},
		},
		{
			name: "ListedHasAllButCellsAndInbox",
			rule: "what is listed is all of an execution but its cells and messages, as it is now",
			why:  "I8: a list shows what waits, and for what; it must not load what it does not show",
			run: func(r *rig) {
				x := r.full("x")
				r.create(x)
				w := r.write(r.load(x.Key))
				w.Head.State = store.WaitingToCompensate
				want := r.put(w)
				want.Cells, want.Inbox = nil, nil
				page, err := r.s.List(r.ctx, store.Query{})
				if err != nil || len(page.Executions) != 1 {
					r.Fatal(page, err)
				}
				r.same("what is listed", &page.Executions[0], want)
			},
		},
		{
			name: "ListSelects",
			rule: "a query selects by workflow, by any of several states, and by the time of creation: since that moment, and until before that moment; by all of them together",
			why:  "I8: an operator finds what has failed",
			run:  listSelects,
		},
		{
			name: "ListIsPaged",
			rule: "a page has no more than the limit, 100 where that is zero, and the cursor of the next one, which is empty when there is none",
			why:  "I8: all executions can be looked through",
			run:  listIsPaged,
		},
		{
			name: "PagesAreStable",
			rule: "executions that are created or deleted between two pages neither repeat nor hide others",
			why:  "I8: what is looked through while all goes on is complete",
			run:  pagesAreStable,
		},
		{
			name: "PagesDivideOneInstant",
			rule: "executions that were created at the same instant are divided over pages without a loss or a repetition",
			why:  "I8: what is looked through is complete",
			run: func(r *rig) {
				at := time.Date(2026, 1, 1, 0, 0, 0, 5, time.UTC)
				want, got := map[store.Key]bool{}, map[store.Key]bool{}
				for _, workflow := range []string{"b", "a", "a\xff", ""} {
					for i := range 6 {
						x := r.fresh(fmt.Sprintf("%d\xff", i))
						x.Workflow, x.CreatedAt = workflow, at
						r.create(x)
						want[x.Key] = true
					}
				}
				q := store.Query{Limit: 5}
				for _, x := range r.pages(q) {
					if got[x.Key] {
						r.Errorf("%s is there twice", x.Key)
					}
					got[x.Key] = true
				}
				if len(got) != len(want) {
					r.Errorf("%d of %d are there", len(got), len(want))
				}
			},
		},
		{
			name: "BadCursorIsAnError",
			rule: "a cursor that is none is answered by ErrCursor",
			why:  "I8: a list from anywhere would look complete",
			run: func(r *rig) {
				for i := range 5 {
					r.makeAt(i)
				}
				page, err := r.s.List(r.ctx, store.Query{Limit: 2})
				if err != nil || page.Next == "" {
					r.Fatal(page, err)
				}
				for _, cursor := range []string{"x", " ", "!", "0", "null", "{}", page.Next + "!", "!" + page.Next, "\xff", "AAAA====", strings.Repeat("_", 50)} {
					if page, err := r.s.List(r.ctx, store.Query{Cursor: cursor}); !errors.Is(err, store.ErrCursor) || len(page.Executions) != 0 {
						r.Errorf("the cursor %q: %d executions, %v; want %v", cursor, len(page.Executions), err, store.ErrCursor)
					}
				}
			},
		},
	}
}

// makeAt creates an execution, the later the higher its number.
func (r *rig) makeAt(i int, changes ...func(x *store.Snapshot)) *store.Snapshot {
	r.Helper()
	created := func(x *store.Snapshot) { x.CreatedAt = day(i) }
	return r.make(fmt.Sprint(i), append(changes, created)...)
}

func day(i int) time.Time { return time.Date(2026, 1, 1+i, 0, 0, 0, 0, time.UTC) }

func (r *rig) pages(q store.Query) []store.Snapshot {
	r.Helper()
	var all []store.Snapshot
	for pages := 0; ; pages++ {
		page, err := r.s.List(r.ctx, q)
		if err != nil {
			r.Fatalf("List(%+v): %v", q, err)
		}
		all = append(all, page.Executions...)
		if page.Next == "" {
			return all
		}
		if pages > 100 {
			r.Fatalf("List(%+v) has no end", q)
		}
		q.Cursor = page.Next
	}
}

func (r *rig) wantListed(what string, q store.Query, want ...string) {
	r.Helper()
	var got []string
	for _, x := range r.pages(q) {
		got = append(got, x.ID)
	}
	if !slices.Equal(got, want) {
		r.Errorf("%s: %q is listed, want %q", what, got, want)
	}
}

func listSelects(r *rig) {
	states := []store.ExecutionState{
		store.NotStarted, store.Invoking, store.WaitingToCompensate, store.Compensating, store.Done, store.Reverted, store.Failed,
	}
	for i := range 14 {
		r.makeAt(i, inState(states[i%7]), func(x *store.Snapshot) {
			if i%2 == 1 {
				x.Workflow = "other"
			}
		})
	}
	for what, c := range map[string]struct {
		q    store.Query
		want []string
	}{
		"a workflow":           {store.Query{Workflow: "other"}, []string{"13", "11", "9", "7", "5", "3", "1"}},
		"no workflow":          {store.Query{Workflow: "othe"}, nil},
		"a state":              {store.Query{States: states[5:6]}, []string{"12", "5"}},
		"states":               {store.Query{States: []store.ExecutionState{store.Failed, store.NotStarted}}, []string{"13", "7", "6", "0"}},
		"since":                {store.Query{Since: day(11)}, []string{"13", "12", "11"}},
		"since a little later": {store.Query{Since: day(11).Add(1)}, []string{"13", "12"}},
		"until":                {store.Query{Until: day(2)}, []string{"1", "0"}},
		"until a little later": {store.Query{Until: day(2).Add(1)}, []string{"2", "1", "0"}},
		"between":              {store.Query{Since: day(4), Until: day(7)}, []string{"6", "5", "4"}},
		"nothing between":      {store.Query{Since: day(4), Until: day(4)}, nil},
		"all at once": {
			store.Query{Workflow: "workflow", States: states[:3], Since: day(2), Until: day(9), Limit: 1},
			[]string{"8", "2"},
		},
	} {
		r.wantListed(what, c.q, c.want...)
	}
	w := r.write(r.load(store.Key{Workflow: "workflow", ID: "0"}))
	w.Head.State = store.Reverted
	r.put(w)
	r.wantListed("a state that has changed", store.Query{States: states[5:6]}, "12", "5", "0")
}

func listIsPaged(r *rig) {
	const many = 120
	var want []string
	for i := range many {
		x := r.fresh(fmt.Sprint(i))
		x.CreatedAt = day(0).Add(time.Duration(i))
		r.create(x)
		want = append(want, x.ID)
	}
	slices.Reverse(want)
	for _, limit := range []int{1, 7, 100, 119, 120, 121, 0} {
		page, err := r.s.List(r.ctx, store.Query{Limit: limit})
		if limit == 0 {
			limit = 100
		}
		if err != nil || len(page.Executions) != min(limit, many) || (page.Next == "") != (limit >= many) {
			r.Errorf("a page of %d has %d executions, and the cursor %q, %v", limit, len(page.Executions), page.Next, err)
		}
		if limit > 1 {
			r.wantListed(fmt.Sprintf("in pages of %d", limit), store.Query{Limit: limit}, want...)
		}
	}
	page, err := r.s.List(r.ctx, store.Query{Limit: 20, Since: day(0).Add(100)})
	if err != nil || page.Next != "" || len(page.Executions) != 20 {
		r.Errorf("the last page has %d executions, and the cursor %q, %v", len(page.Executions), page.Next, err)
	}
}

func pagesAreStable(r *rig) {
	made := map[string]*store.Snapshot{}
	for i := 10; i < 22; i++ {
		x := r.makeAt(i, inState(store.Done))
		made[x.ID] = x
	}
	gone := []string{"16", "20", "11", "10"}
	var got []string
	q := store.Query{Limit: 3}
	for n := 0; ; n++ {
		page, err := r.s.List(r.ctx, q)
		if err != nil {
			r.Fatal(err)
		}
		for _, x := range page.Executions {
			got = append(got, x.ID)
		}
		if page.Next == "" {
			break
		}
		q.Cursor = page.Next
		r.makeAt(100 + n) // later than all
		last := page.Executions[len(page.Executions)-1]
		for _, id := range []string{last.ID, gone[n]} { // the one that the cursor is at, and another
			x := made[id]
			if err := r.s.Forget(r.ctx, x.Key, x.RunUID); err != nil {
				r.Fatal(err)
			}
		}
	}
	// 16 and 11 were deleted before they were come to.
	if want := []string{"21", "20", "19", "18", "17", "15", "14", "13", "12", "10"}; !slices.Equal(got, want) {
		r.Errorf("%q is listed, want %q", got, want)
	}
	page, err := r.s.List(r.ctx, store.Query{Limit: 1})
	if err != nil || len(page.Executions) != 1 || len(page.Executions[0].ID) != 3 {
		r.Errorf("the first page is %v, %v; want the last one that was made", page, err)
	}
}
