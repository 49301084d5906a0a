package lockredis_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// unsaved is a server that refuses to write because it could not save its data.
func unsaved(t *testing.T) *redistest.Server {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := redistest.Start(t, "--enable-protected-configs", "yes", "--save", "3600 1")
	if err := errors.Join(s.Client().ConfigSet(bg, "dir", dir).Err(), os.Remove(dir), s.Client().BgSave(bg).Err()); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, 10*time.Second, func() string {
		info := s.Client().Info(bg, "persistence").Val()
		if strings.Contains(info, "rdb_last_bgsave_status:err") {
			return ""
		}
		return info
	})
	return s
}

// unwilling are servers that refuse to write, and none of them for want of a right.
var unwilling = map[string]func(*testing.T) *redistest.Server{
	"MISCONF":    unsaved,
	"NOREPLICAS": func(t *testing.T) *redistest.Server { return redistest.Start(t, "--min-replicas-to-write", "1") },
	"OOM":        func(t *testing.T) *redistest.Server { return redistest.Start(t, "--maxmemory", "1") },
	"READONLY":   func(t *testing.T) *redistest.Server { return redistest.Start(t, "--replicaof", "127.0.0.1 1") },
}

func TestAServerThatRefusesToWriteIsNoMissingRightAndSaysSoWhenALockIsAskedFor(t *testing.T) {
	t.Parallel()
	for word, server := range unwilling {
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			p, _, err := start(t, lockredis.Config{RedisURL: server(t).URL()})
			if err != nil {
				t.Fatal(err)
			}
			_, err = p.Acquire(bg, try("me", "k"))
			if _, rights := errors.AsType[*lockredis.RightsError](err); rights || err == nil || !strings.Contains(err.Error(), word+" ") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestARightThatIsMissingIsNamedByAServerThatRefusesToWriteAsWell(t *testing.T) {
	t.Parallel()
	for word, server := range unwilling {
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			rights := slices.DeleteFunc(rightsOnPage(t, "all"), func(right string) bool { return right == "+zadd" })
			err := useAll(t, allow(t, server(t), "locks", rights))
			if e, ok := errors.AsType[*lockredis.RightsError](err); !ok || !slices.Equal(e.Missing, []string{"+zadd"}) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// refusing answers each script with an error.
type refusing struct {
	redis.Hook

	text string
}

// refusal is an error that a server has answered.
type refusal string

func (e refusal) Error() string { return string(e) }
func (refusal) RedisError()     {}

func (h refusing) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h refusing) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h refusing) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") {
			cmd.SetErr(refusal(h.text))
			return cmd.Err()
		}
		return next(ctx, cmd)
	}
}

func TestWhatAServerSaysToTheFirstScriptIsAMissingRightOnlyWhereItSaysSo(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for text, want := range map[string][]string{
		"NOPERM this user has no permissions to run the 'evalsha' command":      {"+evalsha"},
		"NOPERM User locks has no permissions to run the 'eval' command":        {"+eval"},
		"NOPERM No permissions to access a key":                                 {"~~lockstep:*"},
		"NOPERM said in words of another server":                                {"+evalsha or +eval"},
		"ERR unknown command 'evalsha', with args beginning with: 'ab' '1' 'k'": nil,
		"WRONGTYPE Operation against a key holding the wrong kind of value":     nil,
	} {
		client := redis.NewClient(&redis.Options{Addr: server.Addr()})
		client.AddHook(refusing{text: text})
		_, _, err := start(t, lockredis.Config{Client: client})
		rights, ok := errors.AsType[*lockredis.RightsError](err)
		switch {
		case err == nil || !strings.Contains(err.Error(), text):
			t.Errorf("%q: %v", text, err)
		case ok != (want != nil), ok && !slices.Equal(rights.Missing, want):
			t.Errorf("%q: %v", text, err)
		}
		client.Close()
	}
}

func TestAServerThatRefusesAllScriptsForTheMomentIsStartedAt(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, text := range []string{
		"OOM command not allowed when used memory > 'maxmemory'.", "MISCONF Redis is configured to save RDB snapshots, but",
		"NOREPLICAS Not enough good replicas to write.", "READONLY You can't write against a read only replica.",
		"LOADING Redis is loading the dataset in memory", "BUSY Redis is busy running a script.", "CLUSTERDOWN The cluster is down",
	} {
		client := redis.NewClient(&redis.Options{Addr: server.Addr()})
		t.Cleanup(func() { client.Close() })
		client.AddHook(refusing{text: text})
		_, log, err := start(t, lockredis.Config{Client: client})
		if err != nil || !strings.Contains(log, "could not be looked at") {
			t.Errorf("%q: %v, logged is %s", text, err, log)
		}
	}
}
