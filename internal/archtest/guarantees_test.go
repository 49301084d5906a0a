package archtest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A promise whose test has another name by now is one without a test.
func TestEachTestThatTheGuaranteesNameIsThere(t *testing.T) {
	var code []byte
	walk(t, func(path string, text []byte) {
		if strings.HasSuffix(path, ".go") {
			code = append(code, text...)
		}
	})
	for _, name := range []string{"guarantees.md", "invariants.md"} {
		page, err := os.ReadFile(filepath.Join(root, "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		missing, named := namedWithoutTest(page, code)
		if named < 20 {
			t.Errorf("only %d tests are found on %s", named, name)
		}
		for _, test := range missing {
			t.Errorf("docs/%s names %s, which is nowhere", name, test)
		}
	}
}

var (
	testName = regexp.MustCompile("`(Test[A-Za-z0-9_]+)[`/]")
	caseName = regexp.MustCompile("`Suite/([A-Z][A-Za-z0-9]+)`")
)

// namedWithoutTest returns the tests and cases that a page names but the code does not
// have, and how many it names.
func namedWithoutTest(page, code []byte) (missing []string, named int) {
	for _, m := range testName.FindAllSubmatch(page, -1) {
		named++
		if !bytes.Contains(code, append([]byte("func "), append(m[1], '(')...)) {
			missing = append(missing, string(m[1]))
		}
	}
	for _, m := range caseName.FindAllSubmatch(page, -1) {
		named++
		if !bytes.Contains(code, []byte(`"`+string(m[1])+`"`)) {
			missing = append(missing, "Suite/"+string(m[1]))
		}
	}
	return missing, named
}

func TestATestThatIsNamedButMissingIsFound(t *testing.T) {
	page := []byte("`TestA`, `TestB/…`, `TestGone`, `Suite/Case`, `Suite/Other`")
	missing, named := namedWithoutTest(page, []byte("func TestA(t) func TestB(t) {name: \"Case\"}"))
	if named != 5 || strings.Join(missing, " ") != "TestGone Suite/Other" {
		t.Errorf("got %q of %d", missing, named)
	}
}
