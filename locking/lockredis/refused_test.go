package lockredis_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// warnings are the lines that a provider logs at Warn.
type warnings struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *warnings) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(line)
}

// with are the lines that have a text in them.
func (w *warnings) with(text string) (lines []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for line := range strings.Lines(w.text.String()) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// newClerk is a provider whose user may touch all locks but that of the key "bad" once
// restrict was called.
func newClerk(t *testing.T) (r *rig, log *warnings, restrict func()) {
	t.Helper()
	server := redistest.Start(t)
	client := server.Client()
	acl := func(rules ...any) {
		t.Helper()
		if err := client.Do(bg, append([]any{"acl", "setuser", "clerk"}, rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	acl("on", ">pass", "+@all", "&*", "allkeys")
	log = &warnings{}
	p := lockredis.New(lockredis.Config{RedisURL: strings.Replace(server.URL(), "//", "//clerk:pass@", 1)})
	err := p.Start(bg, driver.Env{Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return &rig{p, t, server, client}, log, func() { acl("resetkeys", "~~lockstep:*", "~medusa_lock:good*") }
}

// startsAnew has a process state again all that waits, as the server does not know of
// it: its push connection is broken, and the queues are gone.
func (r *rig) startsAnew(keys ...string) {
	r.t.Helper()
	names := []string{hubName("w")}
	for _, k := range keys {
		names = append(names, queueName(k))
	}
	if err := r.redis.Del(bg, names...).Err(); err != nil {
		r.t.Fatal(err)
	}
	if err := r.redis.Do(bg, "client", "kill", "type", "pubsub").Err(); err != nil {
		r.t.Fatal(err)
	}
}

func TestARequestThatTheServerRefusesCostsTheOthersNothing(t *testing.T) {
	t.Parallel()
	const others = 120 // they are stated again in several calls
	for name, refuse := range map[string]func(r *rig, restrict func()){
		"of its lock": func(_ *rig, restrict func()) { restrict() },
		"of its queue": func(r *rig, _ func()) {
			if err := r.redis.Set(bg, queueName("bad"), "no queue", 0).Err(); err != nil {
				r.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, log, restrict := newClerk(t)
			r.take("x", 0, "bad")
			var goods []string // so many that one by one they would cost a tick too many calls
			for i := range 20 {
				goods = append(goods, fmt.Sprint("good-", i))
			}
			held := r.take("x", 0, goods...)
			r.ask(driver.Request{Keys: []string{"bad"}, Owner: "*", Wait: time.Minute})
			r.inLine("bad", 1)
			var got []<-chan outcome
			for i := range others {
				got = append(got, r.ask(driver.Request{Keys: []string{goods[i%len(goods)]}, Owner: "*", Wait: time.Minute}))
			}
			for _, k := range goods {
				r.inLine(k, int64(others/len(goods)))
			}
			r.redis.Del(bg, queueName("bad"))
			refuse(r, restrict)
			r.startsAnew(goods...)
			for _, k := range goods {
				r.inLine(k, int64(others/len(goods)))
			}

			// The others live on, and are not stated again and again: their answers age,
			// while the tick says that the process lives.
			before := r.calls()
			never(t, 2500*time.Millisecond, func() string {
				if n := len(r.redis.Keys(bg, hubName("p:*")).Val()); n != 1 {
					return fmt.Sprintf("%d processes live", n)
				}
				return ""
			})
			if n := r.calls() - before; n > 30 {
				t.Errorf("%d scripts were called in 2.5 s", n)
			}
			refusals := log.with("refuses a request")
			if len(refusals) != 1 || !strings.Contains(refusals[0], "bad") {
				t.Errorf("of the refusal tell %d lines: %q", len(refusals), refusals)
			}
			if n := len(log.with("refuses to tell")); n > 1 {
				t.Errorf("%d lines tell that the lock is refused", n)
			}
			if failed := log.with("no answer"); len(failed) > 0 {
				t.Errorf("ticks fail: %q", failed[0])
			}
			if again := log.with("could not be stated again"); len(again) > 0 {
				t.Errorf("all are to be stated again: %q", again[0])
			}
			r.free(held)
			served := make(chan driver.Grant)
			for _, o := range got {
				go func() { served <- (<-o).grant }()
			}
			select {
			case g := <-served:
				r.free(g)
			case <-time.After(2 * time.Second):
				t.Error("nobody is served")
			}
			go func() { // until the provider ends
				for range others - 1 {
					<-served
				}
			}()
		})
	}
}
