package medusa_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
)

// timedOut is what Medusa's execute says when it has waited in vain.
const timedOut = "Timed-out acquiring lock."

// patience bounds what has to happen some time, and no promise is about.
const patience = 20 * time.Second

// installTime bounds the installation of Medusa's packages, and loadTime their loading: on
// a busy machine that takes a while.
const (
	installTime = 3 * time.Minute
	loadTime    = time.Minute
)

// installed installs Medusa's packages, once. It returns what keeps it from that.
var installed = sync.OnceValue(func() error {
	cmd := exec.Command("../../scripts/setup-medusa.sh")
	var said bytes.Buffer
	cmd.Stderr = &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // npm ends with the script
	ended, err := redistest.StartTied(cmd)
	if err != nil {
		return err
	}
	select {
	case <-ended:
	case <-time.After(installTime):
		err = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		return errors.Join(fmt.Errorf("npm has not ended within %s", installTime), err)
	}
	if !cmd.ProcessState.Success() {
		return fmt.Errorf("%s (%s)", strings.TrimSpace(said.String()), cmd.ProcessState)
	}
	return nil
})

// store is a Node.js process with the locking module of a Medusa store, as one test sees
// it.
type store struct {
	*process
	t *testing.T
}

// process is that process. It ends with the test that started it.
type process struct {
	cmd   *exec.Cmd
	ended <-chan struct{}
	said  *os.File // what Medusa writes about itself

	mu    sync.Mutex
	in    io.Writer
	last  int
	calls map[int]*call
	wrong []error // what it has written that nobody understands
}

// call is a request that the store was sent.
type call struct {
	id            int
	runs, aborted chan struct{} // of a job: closed when it begins, and when its signal is aborted
	done          chan struct{} // closed when result and err are final
	result        json.RawMessage
	err           error
}

// storeError is an error that Medusa has thrown.
type storeError struct {
	Type    string `json:"type"` // of a MedusaError: "conflict", …
	Message string `json:"message"`
}

func (e *storeError) Error() string { return fmt.Sprintf("%s (%s)", e.Message, e.Type) }

// startStore starts a store on a server, with a namespace or, for "", Medusa's own.
// Without Node.js the test is skipped.
func startStore(t *testing.T, url, namespace string) *store {
	t.Helper()
	if err := installed(); err != nil {
		t.Skipf("skipped: Medusa's packages are not installed: %v", err)
	}
	dependOn(t, "store/*.js", "store/package-lock.json", "store/node_modules/.installed-from")
	s := &store{&process{cmd: exec.Command("node", "store.js"), calls: map[int]*call{}}, t}
	s.cmd.Dir = "store"
	s.cmd.Env = append(os.Environ(), "LOCKING_REDIS_URL="+url)
	if namespace != "" {
		s.cmd.Env = append(s.cmd.Env, "LOCKING_NAMESPACE="+namespace)
	}
	said, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		t.Fatal(err)
	}
	s.said, s.cmd.Stderr = said, said
	out, fromStore, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout = fromStore
	in, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.in = in
	s.ended, err = redistest.StartTied(s.cmd)
	fromStore.Close()
	if err != nil {
		t.Fatal(err)
	}
	ready, read := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		s.read(out, ready)
	}()
	t.Cleanup(func() {
		s.kill()
		<-read
		out.Close()
		said.Close()
		for _, err := range s.wrong {
			t.Error(err)
		}
	})
	s.expect(ready, "the store to start", loadTime)
	return s
}

// dependOn has a cached result of the test not count when the files have changed: what
// another process reads is not noticed.
func dependOn(t *testing.T, patterns ...string) {
	for _, pattern := range patterns {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %q, %v", pattern, names, err)
		}
		for _, name := range names {
			if _, err := os.ReadFile(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// kill ends the process with SIGKILL, and waits until it is gone.
func (s *process) kill() {
	_ = s.cmd.Process.Kill() // it may be gone already
	<-s.ended
}

// words is what Medusa has written about itself.
func (s *process) words() string {
	text, err := os.ReadFile(s.said.Name())
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(text))
}

// within waits for something the store is to do.
func (s *store) within(what <-chan struct{}, name string) {
	s.t.Helper()
	s.expect(what, name, patience)
}

func (s *store) expect(what <-chan struct{}, name string, bound time.Duration) {
	s.t.Helper()
	select {
	case <-what:
		return
	case <-s.ended:
		select {
		case <-what: // it was said before the end
			return
		case <-time.After(time.Second):
		}
		s.t.Fatalf("the store has ended while the test waited for %s; it said: %s", name, s.words())
	case <-time.After(bound):
		s.t.Fatalf("not within %s: %s; the store said: %s", bound, name, s.words())
	}
}

// read takes the store's messages until it ends.
func (s *process) read(out io.Reader, ready chan struct{}) {
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var m struct {
			ID    int             `json:"id"`
			Event string          `json:"event"`
			OK    json.RawMessage `json:"ok"`
			Error *storeError     `json:"error"`
		}
		if err := json.Unmarshal(line, &m); err != nil {
			s.wrong = append(s.wrong, fmt.Errorf("the store wrote %q: %w", line, err))
			continue
		}
		s.mu.Lock()
		c := s.calls[m.ID]
		s.mu.Unlock()
		switch m.Event {
		case "ready":
			close(ready)
		case "runs":
			close(c.runs)
		case "aborted":
			close(c.aborted)
		default:
			if c.result = m.OK; m.Error != nil {
				c.err = m.Error
			}
			close(c.done)
		}
	}
}

// send sends a request.
func (s *store) send(op string, args any) *call {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	c := &call{id: s.last, runs: make(chan struct{}), aborted: make(chan struct{}), done: make(chan struct{})}
	s.calls[c.id] = c
	line, err := json.Marshal(map[string]any{"id": c.id, "op": op, "args": args})
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.in.Write(append(line, '\n')); err != nil {
		s.t.Fatalf("%v; the store said: %s", err, s.words())
	}
	return c
}

// ask sends a request and waits for what comes of it.
func (s *store) ask(op string, args any) (json.RawMessage, error) {
	s.t.Helper()
	c := s.send(op, args)
	s.within(c.done, op)
	return c.result, c.err
}

// lockArgs are the options of Medusa's calls; times are in seconds.
type lockArgs struct {
	Owner      string  `json:"ownerId,omitempty"`
	Expire     float64 `json:"expire,omitempty"`
	Timeout    float64 `json:"timeout,omitempty"`
	AwaitQueue bool    `json:"awaitQueue,omitempty"`
}

type lockRequest struct {
	Keys []string `json:"keys,omitempty"`
	Args lockArgs `json:"args"`
}

func (s *store) acquire(key string, args lockArgs) error {
	s.t.Helper()
	_, err := s.ask("acquire", lockRequest{[]string{key}, args})
	return err
}

// take is an acquire that is no question.
func (s *store) take(key string, args lockArgs) {
	s.t.Helper()
	if err := s.acquire(key, args); err != nil {
		s.t.Fatalf("Medusa does not get %q: %v", key, err)
	}
}

func (s *store) release(key, owner string) bool {
	s.t.Helper()
	var had bool
	result, err := s.ask("release", lockRequest{[]string{key}, lockArgs{Owner: owner}})
	if err == nil {
		err = json.Unmarshal(result, &had)
	}
	if err != nil {
		s.t.Fatalf("Medusa's release of %q: %v", key, err)
	}
	return had
}

func (s *store) releaseAll(owner string) {
	s.t.Helper()
	if _, err := s.ask("releaseAll", lockRequest{nil, lockArgs{Owner: owner}}); err != nil {
		s.t.Fatalf("Medusa's releaseAll: %v", err)
	}
}

// execute starts a job, which lasts until it is finished.
func (s *store) execute(key string, args lockArgs) *call {
	s.t.Helper()
	return s.send("execute", lockRequest{[]string{key}, args})
}

// runs waits until the job has begun.
func (s *store) runs(c *call) {
	s.t.Helper()
	select {
	case <-c.done:
		s.t.Fatalf("Medusa's job has not run: %v", c.err)
	default:
		s.within(c.runs, "a job to run")
	}
}

// finish ends a job, and returns what execute does.
func (s *store) finish(c *call) error {
	s.t.Helper()
	if _, err := s.ask("finish", map[string]int{"job": c.id}); err != nil {
		s.t.Fatal(err)
	}
	s.within(c.done, "a job to end")
	return c.err
}
