package lockredis_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// keeper is a hook that keeps all commands, and what they said when they were sent.
type keeper struct {
	mu   sync.Mutex
	cmds []redis.Cmder
	said []string
}

// said is a command as it goes to the server.
func said(cmd redis.Cmder) string {
	var words []string
	for _, arg := range cmd.Args() {
		if text, ok := arg.(*string); ok {
			arg = *text
		}
		words = append(words, fmt.Sprint(arg))
	}
	return strings.Join(words, " ")
}

func (k *keeper) keep(cmds ...redis.Cmder) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range cmds {
		k.cmds, k.said = append(k.cmds, c), append(k.said, said(c))
	}
}

func (k *keeper) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (k *keeper) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		k.keep(cmd)
		return next(ctx, cmd)
	}
}

func (k *keeper) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		k.keep(cmds...)
		return next(ctx, cmds)
	}
}

func TestACommandThatAHookOfTheUsersClientKeepsDoesNotChange(t *testing.T) {
	t.Parallel()
	client, hook := redistest.Start(t).Client(), &keeper{}
	client.AddHook(hook)
	p, _, err := start(t, lockredis.Config{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for c := range 16 {
		all.Go(func() {
			for i := range 50 {
				// Of many lengths, so that an argument in another's place shows.
				req := driver.Request{Keys: []string{"k"}, Owner: "*", TTL: time.Duration(60000+100*c+i) * time.Millisecond, Wait: time.Minute}
				g, err := p.Acquire(bg, req)
				if err == nil {
					_, err = p.Release(bg, []driver.Hold{g.Holds[0].Hold})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	hook.mu.Lock()
	defer hook.mu.Unlock()
	for i, cmd := range hook.cmds {
		if now := said(cmd); now != hook.said[i] {
			t.Fatalf("command %d of %d said\n%s\nand says now\n%s", i, len(hook.cmds), hook.said[i], now)
		}
	}
}

// In the answer to many requests, what was just said of a lock is not said again.
func TestRequestsThatWaitForSeveralLocksInOneCallAreEachToldOfTheirOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ours := r.take("*", 0, "ours")
	r.redis.Set(bg, "medusa_lock:foreign", "another program", 700*time.Millisecond)
	lasts := r.take("*", time.Minute, "lasts")
	waits := func(key string) driver.Request {
		return driver.Request{Keys: []string{key}, Owner: "*", Wait: time.Minute}
	}
	var requests []driver.Request
	order := []string{"ours", "ours", "foreign", "foreign", "lasts", "ours", "foreign", "lasts"}
	for _, key := range order {
		requests = append(requests, waits(key))
	}
	got := r.together(requests...)
	r.knowsOf(int64(len(order)))
	r.Watched(t, "ours", false, 0)
	r.Watched(t, "foreign", true, 700*time.Millisecond)
	r.Watched(t, "lasts", false, time.Minute)
	r.free(ours)
	r.free(lasts)
	for i, key := range order { // each in its turn
		r.free(granted(t, got[i], 5*time.Second, fmt.Sprint("request ", i, " for ", key)))
	}
}
