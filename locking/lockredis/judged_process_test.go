package lockredis_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// The judged tests prove what the issue of the locks promises, on real processes. Each
// prints what it measured beside what is promised, and bounds it with three times that.

// These variables make the test binary a process that a judged test may stop or kill:
// what it does, and at which server.
const (
	roleVariable   = "LOCKREDIS_JUDGED_ROLE"
	serverVariable = "LOCKREDIS_JUDGED_SERVER"
)

// roles are what such a process may do.
var roles = map[string]func(c child){
	"enqueue":        child.enqueue,
	"hold":           child.hold,
	"hold renewed":   child.holdRenewed,
	"wait":           child.wait,
	"write fenced":   child.writeFenced,
	"write renewing": child.writeRenewing,
	"history":        child.history,
}

func init() { //nolint:gochecknoinits // a child process comes before TestMain, which would run tests
	if name := os.Getenv(roleVariable); name != "" {
		role := roles[name]
		if role == nil {
			panic("no role " + strconv.Quote(name))
		}
		c := child{os.Getenv(serverVariable), bufio.NewScanner(os.Stdin)}
		role(c)
		os.Exit(0)
	}
}

// child is the inner side of such a process. It ends when its parent's pipe does.
type child struct {
	url   string
	heard *bufio.Scanner
}

// say tells the parent that something has happened now.
func (c child) say(what string, args ...any) {
	at := time.Now().UnixNano()
	fmt.Fprintln(os.Stdout, append([]any{at, what}, args...)...)
}

// must ends the process when something went wrong that no test is about.
func (c child) must(err error) {
	if err != nil {
		c.say("failed", err)
		os.Exit(1)
	}
}

// hear waits until the parent says something.
func (c child) hear() string {
	if !c.heard.Scan() {
		os.Exit(0) // the test is over
	}
	return c.heard.Text()
}

// rest does nothing until the test is over.
func (c child) rest() {
	for c.hear() != "" {
	}
}

func (c child) provider() *lockredis.Provider {
	p := lockredis.New(lockredis.Config{RedisURL: c.url})
	c.must(p.Start(bg, driver.Env{ID: "child", Logger: slog.New(slog.DiscardHandler)}))
	return p
}

func (c child) service() *locking.Service {
	s, err := locking.New(bg, locking.Config{
		Logger:    slog.New(slog.DiscardHandler),
		Providers: []locking.Registration{{ID: "child", IsDefault: true, Provider: lockredis.New(lockredis.Config{RedisURL: c.url})}},
	})
	c.must(err)
	return s
}

// process is the outer side: a process of its own, which ends with the test.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	said  chan saying
	ended <-chan struct{}
}

// saying is a line of a child: what happened, and when.
type saying struct {
	at   time.Time
	what string
}

func startProcess(t *testing.T, server *redistest.Server, role string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0]), said: make(chan saying, 1000)}
	p.cmd.Env = append(os.Environ(), roleVariable+"="+role, serverVariable+"="+server.URL())
	errors, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = errors
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, to, err := os.Pipe() // what was said before a kill is to be heard after it
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout = to
	p.ended, err = redistest.StartTied(p.cmd)
	to.Close()
	if err != nil {
		t.Fatalf("start a child: %v", err)
	}
	go p.listen(out)
	t.Cleanup(func() {
		p.kill()
		for range p.said { // until all of it was heard
		}
		errors.Close()
		text, err := os.ReadFile(errors.Name())
		if said := string(text); err != nil || strings.Contains(said, "DATA RACE") || strings.Contains(said, "panic:") {
			t.Errorf("the child %q wrote: %v\n%s", role, err, said)
		}
	})
	return p
}

func (p *process) listen(out io.ReadCloser) {
	defer close(p.said)
	defer out.Close()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		at, what, _ := strings.Cut(lines.Text(), " ")
		nanos, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			p.said <- saying{time.Now(), "failed: " + lines.Text()}
			return
		}
		p.said <- saying{time.Unix(0, nanos), what}
	}
}

// expect waits for the child's next line, which begins with the given word, and returns
// the rest of it.
func (p *process) expect(word string, bound time.Duration) saying {
	p.t.Helper()
	select {
	case s, ok := <-p.said:
		if !ok {
			p.t.Fatalf("the child has ended; it was to say %q", word)
		}
		first, rest, _ := strings.Cut(s.what, " ")
		if first != word {
			p.t.Fatalf("the child says %q; it was to say %q", s.what, word)
		}
		return saying{s.at, rest}
	case <-time.After(bound):
		p.t.Fatalf("not within %s: the child was to say %q", bound, word)
	}
	return saying{}
}

// tell sends the child a line.
func (p *process) tell(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatalf("tell the child %q: %v", line, err)
	}
}

// kill is kill -9; it returns when the process is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may be gone already
	<-p.ended
}

// stop is kill -STOP: the process does not run until goOn.
func (p *process) stop() { p.signal(syscall.SIGSTOP) }

func (p *process) goOn() { p.signal(syscall.SIGCONT) }

func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("%v: %v", sig, err)
	}
}

// within prints what was measured beside what is promised, and fails when it is more
// than three times that.
func within(t *testing.T, what string, measured, promised time.Duration) {
	t.Helper()
	t.Logf("%s: measured %s, promised %s", what, measured.Round(time.Microsecond), promised)
	if measured > 3*promised {
		t.Errorf("%s: %s is more than three times the %s that are promised", what, measured, promised)
	}
}

// waitFor has a request wait, and returns when it stands in the queue behind so many.
func (r *rig) waitFor(ahead int, req driver.Request) <-chan outcome {
	r.t.Helper()
	got := r.ask(req)
	r.queued(req.Keys[0], ahead+1)
	return got
}

// queued waits until so many wait for a key.
func (r *rig) queued(key string, n int) {
	r.t.Helper()
	redistest.Eventually(r.t, 30*time.Second, func() string {
		s, err := r.Inspect(bg, key, 0)
		if err != nil || s.Waiting != n {
			return fmt.Sprintf("%d wait for %q, want %d; %v", s.Waiting, key, n, err)
		}
		return ""
	})
}

// await returns what a waiter gets, which has to be there within the bound.
func await(t *testing.T, got <-chan outcome, bound time.Duration) outcome {
	t.Helper()
	o := asked(t, got, bound, "the waiter")
	if o.err != nil {
		t.Fatalf("the waiter got %v", o.err)
	}
	return o
}
