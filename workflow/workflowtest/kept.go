package workflowtest

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Kept has a value outlive its process, for [ExploreKilled]: it reads what a process before
// has saved in a history's folder into v, a pointer, if there is any, and returns what saves
// v as it then is. A fake of a service outside saves what it knows before it answers.
//
// What is saved is as in JSON, and replaces what was saved under the name before, whole or
// not at all. A failure to save is a panic. Calls of save exclude each other, and whatever
// changes v, by a lock of the caller.
func Kept(tb testing.TB, dir, name string, v any) (save func()) {
	tb.Helper()
	file := filepath.Join(dir, name+".json")
	data, err := os.ReadFile(file) //nolint:gosec // the caller's folder
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		tb.Fatalf("workflowtest: read what was kept of %s: %v", name, err)
	}
	return func() {
		data, err := json.Marshal(v)
		if err == nil {
			err = os.WriteFile(file+".new", data, 0o600)
		}
		if err = errors.Join(err, os.Rename(file+".new", file)); err != nil {
			panic("workflowtest: keep " + name + ": " + err.Error())
		}
	}
}
