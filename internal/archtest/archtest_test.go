package archtest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/internal/archtest"
)

const root = "../.."

func TestEveryPackageImportsOnlyWhatItsRowAllows(t *testing.T) {
	for _, p := range listPackages(t) {
		for _, fault := range archtest.Check(p) {
			t.Error(fault)
		}
	}
}

func TestTheCheckFindsWhatIsForbidden(t *testing.T) {
	const m = archtest.Module
	for name, p := range map[string]archtest.Package{
		"an internal package":                 {ImportPath: m + "/steps", Imports: []string{m + "/internal/engine"}},
		"a third party":                       {ImportPath: m + "/locking", Imports: []string{"github.com/redis/go-redis/v9"}},
		"fx outside lockstepfx":               {ImportPath: m + "/workflow", Imports: []string{"go.uber.org/fx"}},
		"a database":                          {ImportPath: m + "/store/storemem", Imports: []string{"modernc.org/sqlite"}},
		"fx in a test":                        {ImportPath: m + "/workflow", TestImports: []string{"go.uber.org/fx"}},
		"an internal one in the root's tests": {ImportPath: m, TestImports: []string{m + "/internal/engine"}},
		"an internal one in an example":       {ImportPath: m + "/examples/x", Imports: []string{m + "/internal/plan"}},
		"a package without a row":             {ImportPath: m + "/util"},
	} {
		if len(archtest.Check(p)) == 0 {
			t.Errorf("%s is not found", name)
		}
	}
	if faults := archtest.Check(archtest.Package{ImportPath: m + "/steps", Imports: []string{"context", m + "/container"}}); len(faults) > 0 {
		t.Errorf("what is allowed is found: %v", faults)
	}
}

func TestNothingThatWorkflowsNeedImportsFxOrADatabase(t *testing.T) {
	out := run(t, "go", "list", "-deps", "./workflow")
	for dep := range strings.Lines(out) {
		if strings.HasPrefix(dep, "go.uber.org/") || strings.HasPrefix(dep, "modernc.org/") {
			t.Errorf("workflow depends on %s", dep)
		}
	}
}

func TestTheMachineImportsNoClockNoIOAndNoGoroutine(t *testing.T) {
	for _, p := range listPackages(t) {
		if p.ImportPath != archtest.Module+"/internal/machine" {
			continue
		}
		for _, imp := range p.Imports {
			switch imp {
			case "context", "io", "os", "net", "sync", "log/slog":
				t.Errorf("internal/machine imports %s", imp)
			}
		}
	}
	err := filepath.WalkDir(filepath.Join(root, "internal/machine"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, word := range []string{"time.Now", "time.Since", "time.After", "go func"} {
			if bytes.Contains(text, []byte(word)) {
				t.Errorf("%s has %q", path, word)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNoFileIsLongerThanFiveHundredLines(t *testing.T) {
	walk(t, func(path string, text []byte) {
		if ext := filepath.Ext(path); ext != ".go" && ext != ".lua" {
			return
		}
		if n := bytes.Count(text, []byte("\n")); n > 500 {
			t.Errorf("%s has %d lines", path, n)
		}
	})
}

func TestNoPackageHasANameThatSaysNothing(t *testing.T) {
	for _, p := range listPackages(t) {
		switch name := p.ImportPath[strings.LastIndex(p.ImportPath, "/")+1:]; name {
		case "util", "utils", "common", "helpers", "models":
			t.Errorf("%s", p.ImportPath)
		}
	}
}

func walk(t *testing.T, visit func(path string, text []byte)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == ".git" || name == ".tools" || name == "node_modules" {
				return filepath.SkipDir
			}
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil {
			visit(path, text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func listPackages(t *testing.T) []archtest.Package {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(run(t, "go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")))
	var all []archtest.Package
	for {
		var p struct {
			ImportPath                         string
			Imports, TestImports, XTestImports []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, archtest.Package{ImportPath: p.ImportPath, Imports: p.Imports, TestImports: append(p.TestImports, p.XTestImports...)})
	}
	if len(all) < 10 {
		t.Fatalf("only %d packages found", len(all))
	}
	return all
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, stderr.String())
	}
	return string(out)
}
