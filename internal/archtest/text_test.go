package archtest_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// machinePath begins the paths of the machine that the project is built on. It is
// put together here, so that this file does not have it.
var machinePath = []byte("/" + "work/")

func TestNoTrackedTextNamesAPathOfTheBuildersMachine(t *testing.T) {
	if err := exec.Command("git", "-C", root, "rev-parse", "--verify", "HEAD").Run(); err != nil {
		t.Skipf("skipped: no git, or not a git checkout, so what is tracked is not known (%v)", err)
	}
	for name := range strings.SplitSeq(run(t, "git", "ls-files", "-z"), "\x00") {
		if name == "" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) {
			continue // deleted, and not yet committed
		}
		if err != nil {
			t.Fatal(err)
		}
		if line := namesMachine(text); line > 0 {
			t.Errorf("%s:%d has a path that begins with %s", name, line, machinePath)
		}
	}
}

func TestAPathOfTheBuildersMachineIsFound(t *testing.T) {
	for text, want := range map[string]int{
		"a\nsee /" + "work/main\n":   2,
		"in the work/ folder":        0,
		"\x00binary /" + "work/main": 0,
	} {
		if got := namesMachine([]byte(text)); got != want {
			t.Errorf("%q: line %d, want %d", text, got, want)
		}
	}
}

// namesMachine returns the first line that has such a path, or 0. What has a zero
// byte is not text.
func namesMachine(text []byte) int {
	i := bytes.Index(text, machinePath)
	if i < 0 || bytes.IndexByte(text, 0) >= 0 {
		return 0
	}
	return 1 + bytes.Count(text[:i], []byte("\n"))
}
