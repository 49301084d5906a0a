package workflowtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What a child is told by its environment.
const (
	pointVariable = "LOCKSTEP_CRASH_POINT"
	dirVariable   = "LOCKSTEP_CRASH_DIR"
	markVariable  = "LOCKSTEP_CRASH_MARK" // the file that says where it has died, or nothing, when it has come to its end
)

// ExploreKilled is [Explore] with real processes: it starts the test's own program again
// for each, which runs this one test, and kills itself at its point by SIGKILL, or what the
// system has for it. The subject must have a World, whose parts outlive a process. All that
// Check looks at must be in the history's folder, or on a server.
func ExploreKilled(t *testing.T, s Subject) {
	t.Helper()
	s.setDefaults()
	if s.World == nil {
		t.Fatal("workflowtest: ExploreKilled needs a World: what is in memory dies with its process")
	}
	if point := os.Getenv(pointVariable); point != "" {
		at, err := strconv.Atoi(point)
		if err != nil {
			t.Fatal(err)
		}
		s.child(t, at, os.Getenv(dirVariable))
		return
	}
	name := t.Name()
	n := s.points(t.Run, func(t *testing.T, points ...int) int {
		t.Helper()
		return killed(t, name, points)
	})
	t.Logf("%d points at which the process may die", n)
}

// killed makes a history of processes that die at those points, and of one more, and says
// how many of them have died.
func killed(tb testing.TB, test string, points []int) (reached int) {
	tb.Helper()
	dir, mark := tb.TempDir(), filepath.Join(tb.TempDir(), "died")
	for _, at := range slices.Concat(points, []int{0}) {
		out, err := runChild(tb.Context(), test, at, dir, mark)
		where, unmarked := os.ReadFile(mark) //nolint:gosec // it is ours
		switch {
		case unmarked == nil && len(where) == 0 && err == nil:
			return reached
		case errors.Is(unmarked, os.ErrNotExist) && err == nil:
			tb.Fatalf("process %d has left out what it is for: a test that calls ExploreKilled is not to depend on flags\n%s", reached+1, out)
		case unmarked != nil || len(where) == 0 || err == nil:
			tb.Fatalf("process %d: %v, %v\n%s", reached+1, err, unmarked, out)
		}
		tb.Logf("the process dies %s", where)
		if err := os.Remove(mark); err != nil {
			tb.Fatal(err)
		}
		reached++
	}
	panic("workflowtest: the last process has died")
}

// runChild runs one test of this program.
func runChild(ctx context.Context, test string, at int, dir, mark string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	parts := strings.Split(test, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	cmd := exec.CommandContext(ctx, self, "-test.run", strings.Join(parts, "/"), "-test.count=1", "-test.timeout=10m") //nolint:gosec // this very program
	cmd.Env = append(os.Environ(), pointVariable+"="+strconv.Itoa(at), dirVariable+"="+dir, markVariable+"="+mark)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// child is one process of a history.
func (s *Subject) child(t *testing.T, at int, dir string) {
	t.Helper()
	p, err := s.start(t, dir, s.World(t, dir), newDeath(at, killSelf))
	if err != nil {
		t.Fatal(err)
	}
	err = p.run()
	if e := p.settled(); e != nil {
		t.Error(e)
	}
	p.spare()
	s.judge(t, dir, p, err)
	if err := os.WriteFile(os.Getenv(markVariable), nil, 0o600); err != nil { //nolint:gosec // it is the parent's
		t.Fatal(err)
	}
}

// killSelf does not return.
func killSelf(where string) {
	err := os.WriteFile(os.Getenv(markVariable), []byte(where), 0o600) //nolint:gosec // it is the parent's
	if self, e := os.FindProcess(os.Getpid()); err == nil && e == nil {
		err = self.Kill()
	} else {
		err = errors.Join(err, e)
	}
	if err != nil {
		panic(fmt.Sprintf("workflowtest: the process cannot kill itself: %v", err))
	}
	select {}
}
