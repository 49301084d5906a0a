package workflow

import (
	"fmt"
	"strconv"

	"github.com/lockstep-dev/lockstep/internal/machine"
)

// CrashLoopError is the error of a step that has killed its process again and again:
// each time it alone was being tried of those that might have.
type CrashLoopError struct {
	Step   string
	Deaths int
}

func (e *CrashLoopError) Error() string {
	return fmt.Sprintf("workflow: step %q killed its process %d times", e.Step, e.Deaths)
}

// As finds the error among those that were stored, where it stands for a crash loop.
func (e *StoredError) As(target any) bool {
	loop, ok := target.(**CrashLoopError)
	if !ok {
		return false
	}
	for _, r := range e.Record.Chain {
		if r.Type != machine.CrashLoopType {
			continue
		}
		if deaths, err := strconv.Atoi(r.Message); err == nil {
			*loop = &CrashLoopError{Step: e.Record.Path, Deaths: deaths}
			return true
		}
	}
	return false
}
