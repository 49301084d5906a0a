package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const wanted = `the first process starts, with the id PID
  first: charge begins, with the key deliver:order-1:charge:invoke
  first: charge is done
  first: pack begins, with the key deliver:order-1:pack:invoke
  first: pack is done
  first: send begins, with the key deliver:order-1:send:invoke
kill -9: the first process is dead, in the midst of a step
the second process starts, with the id PID
  second: send begins, with the key deliver:order-1:send:invoke
  second: send is done
  second: thank begins, with the key deliver:order-1:thank:invoke
  second: thank is done
  second: order-1, charged, packed, sent, thanked for
what was recorded was not done again; what was under way was begun once more, with its key
`

func built(t *testing.T) (bin string) {
	t.Helper()
	bin = filepath.Join(t.TempDir(), "restart")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

func TestTheNextProcessFinishesWhatAKilledOneHadBegun(t *testing.T) {
	cmd := exec.Command(built(t))
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if got := regexp.MustCompile(`id \d+`).ReplaceAllString(string(said), "id PID"); got != wanted {
		t.Errorf("got\n%s\nwant\n%s", got, wanted)
	}
}

func TestAProcessThatIsToBeKilledInAStepIsStillInItHoweverLateThatComes(t *testing.T) {
	cmd := exec.Command(built(t), "-file", filepath.Join(t.TempDir(), "orders.db"), "-slow", "pack")
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var last string
	for lines := bufio.NewScanner(said); lines.Scan(); {
		if last = lines.Text(); strings.HasPrefix(last, "pack begins") { // a machine that is busy
			defer time.AfterFunc(3*takes, func() { _ = cmd.Process.Kill() }).Stop()
		}
	}
	_ = cmd.Wait() // it was killed
	if !strings.HasPrefix(last, "pack begins") {
		t.Errorf("it has said %q last", last)
	}
}
