package lockredis_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

const secret = "s3cr3t-pass"

// safeLog is what was logged, also while the provider goes on.
type safeLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *safeLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start starts a provider as a service would, and returns what it logged.
func start(t *testing.T, cfg lockredis.Config) (*lockredis.Provider, string, error) {
	t.Helper()
	var log safeLog
	p := lockredis.New(cfg)
	err := p.Start(context.Background(), driver.Env{ID: "locking-redis", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err == nil {
		t.Cleanup(func() {
			if err := p.Close(context.Background()); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	if strings.Contains(log.String(), secret) || (err != nil && strings.Contains(err.Error(), secret)) {
		t.Errorf("the password is shown: %v\n%s", err, log.String())
	}
	return p, log.String(), err
}

func TestStartLogsThatTheConnectionIsEstablished(t *testing.T) {
	server := redistest.Start(t)
	_, log, err := start(t, lockredis.Config{RedisURL: server.URL()})
	if err != nil || !strings.Contains(log, `level=INFO msg="Connection to Redis in \"locking-redis\" provider established"`) {
		t.Fatalf("got %v, %s", err, log)
	}
}

func TestTheDefaultsAreThePages(t *testing.T) {
	server := redistest.Start(t)
	p, _, err := start(t, lockredis.Config{RedisURL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Describe(); got.DefaultWait != 5*time.Second || got.ProcessLocal {
		t.Fatalf("got %+v", got)
	}
	if lockredis.DefaultNamespace != "medusa_lock:" || lockredis.DefaultDefaultRetryInterval != 5*time.Millisecond || lockredis.DefaultMaximumRetryInterval != 200*time.Millisecond {
		t.Fatal("a default is another")
	}
}

func TestTheURLComesFromTheConfigThenFromTheVariable(t *testing.T) {
	server := redistest.Start(t)
	t.Setenv(lockredis.URLVariable, server.URL())
	if _, _, err := start(t, lockredis.Config{}); err != nil {
		t.Fatalf("from the variable: %v", err)
	}
	t.Setenv(lockredis.URLVariable, "redis://127.0.0.1:1")
	if _, _, err := start(t, lockredis.Config{RedisURL: server.URL()}); err != nil {
		t.Fatalf("the config's URL goes first: %v", err)
	}
	client := server.Client()
	p, _, err := start(t, lockredis.Config{Client: client})
	if err != nil {
		t.Fatalf("the client goes first: %v", err)
	}
	if err := p.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := client.Ping(context.Background()).Err(); err != nil {
		t.Fatalf("the given client was closed: %v", err)
	}
}

func TestWithoutAURLTheErrorSaysWhereOneGoes(t *testing.T) {
	t.Setenv(lockredis.URLVariable, "")
	_, _, err := start(t, lockredis.Config{})
	if _, ok := errors.AsType[*lockredis.ConfigError](err); !ok {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"Config.RedisURL", "LOCKING_REDIS_URL", "redis://localhost:6379"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

func TestWhatCannotBeIsRefusedByName(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	for name, c := range map[string]struct {
		cfg  lockredis.Config
		want []string
	}{
		"client and URL":        {lockredis.Config{Client: client, RedisURL: "redis://u:" + secret + "@localhost"}, []string{"RedisURL", "Client"}},
		"client and options":    {lockredis.Config{Client: client, RedisOptions: func(*redis.UniversalOptions) {}}, []string{"RedisOptions", "Client"}},
		"negative wait":         {lockredis.Config{RedisURL: server.URL(), WaitLockingTimeout: -1}, []string{"WaitLockingTimeout", "-1ns"}},
		"intervals upside down": {lockredis.Config{RedisURL: server.URL(), DefaultRetryInterval: time.Second}, []string{"DefaultRetryInterval", "1s", "MaximumRetryInterval", "200ms"}},
	} {
		_, _, err := start(t, c.cfg)
		for _, w := range c.want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v lacks %q", name, err, w)
			}
		}
	}
}

func TestAServerThatCannotBeUsedIsAnErrorInTimeWithoutThePassword(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "another")
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	open := redistest.Start(t)
	hostPort := strings.TrimPrefix(server.URL(), "redis://")
	for name, c := range map[string]struct{ url, want string }{
		"malformed":      {"redis://u:" + secret + "@local host:63:79/x", "malformed URL"},
		"bad escape":     {"redis://u:" + secret + "%zz@localhost:6379", "malformed URL"},
		"other scheme":   {"http://u:" + secret + "@localhost", "malformed URL"},
		"bad option":     {"redis://u:" + secret + "@localhost?db=" + secret, "malformed URL"},
		"refused":        {"redis://u:" + secret + "@127.0.0.1:1", "cannot connect to Redis at 127.0.0.1:1"},
		"wrong password": {"redis://:" + secret + "@" + hostPort, "refused the user name or password"},
		"no password":    {"redis://" + hostPort, "wants a password"},
		"wrong database": {open.URL() + "/4711", "no database of that number"},
		"no answer":      {"redis://u:" + secret + "@" + silent.Addr().String(), "no answer from Redis"},
	} {
		began := time.Now()
		_, _, err := start(t, lockredis.Config{RedisURL: c.url, RedisOptions: func(o *redis.UniversalOptions) { o.DialTimeout = 700 * time.Millisecond }})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if took := time.Since(began); took > 3*700*time.Millisecond {
			t.Errorf("%s: it took %s", name, took)
		}
		t.Logf("%-15s %v", name, err)
	}
}

func TestTheServiceNamesTheProviderThatDoesNotStart(t *testing.T) {
	_, err := locking.New(context.Background(), locking.Config{Providers: []locking.Registration{
		{ID: "locking-redis", Provider: lockredis.New(lockredis.Config{RedisURL: "redis://127.0.0.1:1"})},
	}})
	if err == nil || !strings.Contains(err.Error(), "lp_locking-redis") {
		t.Fatalf("got %v", err)
	}
}
