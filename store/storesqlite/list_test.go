package storesqlite

import (
	"fmt"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// many has a store with so many executions that they are passed in several looks: of every
// thousand, one has failed.
func many(t *testing.T, count int) *Store {
	t.Helper()
	s := opened(t, newPath(t), Config{})
	x := fresh("0")
	x.CreatedAt = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, err := s.Create(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	within(t, s, func(w *writer) error {
		return w.conn.script(fmt.Sprintf(`WITH RECURSIVE n (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < %d)
			INSERT INTO executions (seq, name, workflow, plan, run, codec, generated, created, epoch, revision, state, unsettled, frames, released, takes, unclean)
			SELECT n, n - 1, workflow, plan, 'r', 'json', 0, CAST(substr(created, 1, 8) || unhex(printf('%%08x', n)) AS BLOB), 1, 1,
				iif(n %% 1000 = 0, 'failed', 'done'), 0, 1, 0, 0, 0 FROM n, executions WHERE seq = 1`, count))
	})
	return s
}

func TestAListGoesThroughMoreThanOneLook(t *testing.T) {
	t.Parallel()
	const count = 2*mostSeen + 10
	s := many(t, count)
	for what, c := range map[string]struct {
		q    store.Query
		want int
	}{
		"all":         {store.Query{}, count},
		"the failed":  {store.Query{States: []store.ExecutionState{store.Failed}}, count / 1000},
		"of nothing":  {store.Query{Workflow: "another"}, 0},
		"of the plan": {store.Query{Workflow: thePlan.Workflow, States: []store.ExecutionState{store.Failed}, Limit: 3}, count / 1000},
	} {
		seen := map[string]bool{}
		if c.q.Limit == 0 {
			c.q.Limit = 2000
		}
		for last := (time.Time{}); ; {
			page, err := s.List(t.Context(), c.q)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range page.Executions {
				if seen[x.ID] || (!last.IsZero() && x.CreatedAt.After(last)) {
					t.Errorf("%s: %s is there twice, or out of order", what, x.ID)
				}
				seen[x.ID], last = true, x.CreatedAt
			}
			if c.q.Cursor = page.Next; page.Next == "" {
				break
			}
		}
		if len(seen) != c.want {
			t.Errorf("%s: %d are listed, want %d", what, len(seen), c.want)
		}
	}
}
