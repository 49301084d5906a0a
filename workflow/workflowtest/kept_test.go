package workflowtest_test

import (
	"testing"

	"github.com/lockstep-dev/lockstep/workflow/workflowtest"
)

func TestKeptValueIsThatWhichWasSavedLast(t *testing.T) {
	dir, value, other := t.TempDir(), map[string]int{"a": 1}, map[string]int{}
	save := workflowtest.Kept(t, dir, "stock", &value)
	if len(value) != 1 {
		t.Errorf("%v, and nothing was saved", value)
	}
	save()
	value["a"] = 2
	save()
	value["a"] = 3 // and is not saved
	workflowtest.Kept(t, dir, "stock", &other)
	if other["a"] != 2 {
		t.Errorf("%v, want what was saved last", other)
	}
}
