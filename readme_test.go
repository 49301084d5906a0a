package lockstep_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheReadmesCodeIsCompiledCode compares each marked block of the README, and of
// the pages in docs, with the part of the file that it is taken from.
func TestTheReadmesCodeIsCompiledCode(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("the pages in docs are %q, %v", pages, err)
	}
	for _, page := range append(pages, "README.md") {
		t.Run(page, func(t *testing.T) { compareSnippets(t, page) })
	}
}

func compareSnippets(t *testing.T, page string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)<!-- snippet: (\\S+) (\\S+) -->\n```(?:go|js)\n(.*?)\n```\n").FindAllStringSubmatch(string(text), -1)
	marks, all := strings.Count(string(text), "<!-- snippet:"), strings.Count(string(text), "```go\n")+strings.Count(string(text), "```js\n")
	if len(blocks) != marks || (page == "README.md" && marks == 0) {
		t.Fatalf("%d snippets are marked, %d are well formed", marks, len(blocks))
	}
	if all != len(blocks) {
		t.Errorf("%s has %d blocks of code, of which %d are compared", page, all, len(blocks))
	}
	for _, b := range blocks {
		file, name, shown := b[1], b[2], b[3]
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, ok := strings.Cut(string(source), "// snippet: "+name+"\n")
		part, _, ended := strings.Cut(rest, "// snippet: end")
		if !ok || !ended {
			t.Errorf("%s has no snippet %q", file, name)
			continue
		}
		if got, want := dedent(shown), dedent(part); got != want {
			t.Errorf("%s differs from %s (%s).\npage:\n%s\n\nfile:\n%s", page, file, name, got, want)
		}
	}
}

// dedent takes away the tabs or spaces that all lines begin with, and blank lines around.
func dedent(text string) string {
	lines := strings.Split(strings.Trim(text, "\n\t "), "\n")
	indent := -1
	for _, l := range lines[1:] {
		if strings.TrimSpace(l) == "" {
			continue
		}
		if n := len(l) - len(strings.TrimLeft(l, "\t ")); indent < 0 || n < indent {
			indent = n
		}
	}
	for i, l := range lines[1:] {
		lines[i+1] = l[min(max(indent, 0), len(l)):]
	}
	return strings.Join(lines, "\n")
}
