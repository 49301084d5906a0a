package lockredis

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/rediskit"
)

// DefaultReadTimeout is how long an answer is waited for, unless RedisOptions say
// otherwise. A call that got none is sent again, where the caller's time allows.
const DefaultReadTimeout = time.Second

// URLVariable is the environment variable that names the server where [Config]
// names none.
const URLVariable = "LOCKING_REDIS_URL"

// The values that hold where [Config] names no others.
const (
	DefaultNamespace            = "medusa_lock:"
	DefaultWaitLockingTimeout   = 5 * time.Second
	DefaultDefaultRetryInterval = 5 * time.Millisecond
	DefaultMaximumRetryInterval = 200 * time.Millisecond
)

// oldestServer is the first major version that has what the scripts need, such as
// PEXPIRETIME.
const oldestServer = 7

// Config configures a provider. One of Client, RedisURL and the variable
// LOCKING_REDIS_URL is needed, and they count in this order. Zero durations and an
// empty namespace stand for the defaults.
type Config struct {
	// Client is a client to use as it is, of a server, of sentinels or of a cluster; the
	// provider does not close it. What its options say of retries is not heeded. It must
	// not read from replicas.
	Client redis.UniversalClient
	// RedisURL is a URL such as redis://user:password@localhost:6379/0, or rediss://… with
	// TLS. It may be that of one node of a cluster, which is asked for the others.
	RedisURL string
	// RedisOptions may change what the URL says. With MasterName the addresses are those
	// of sentinels; several without it are those of a cluster.
	RedisOptions func(*redis.UniversalOptions)
	// Namespace precedes every key; "medusa_lock:" is shared with Medusa. None may begin
	// with another that is used on the server: a lock of both would have two queues.
	Namespace string
	// WaitLockingTimeout is how long a request waits that names no time; 5 s.
	WaitLockingTimeout time.Duration
	// DefaultRetryInterval is the first pause before a call that got no answer is sent
	// again; 5 ms.
	DefaultRetryInterval time.Duration
	// MaximumRetryInterval is the longest such pause; 200 ms.
	MaximumRetryInterval time.Duration
}

// ConfigError names a setting that cannot be, its value, and what was expected. It
// never holds a password.
type ConfigError struct{ Field, Value, Expected string }

func (e *ConfigError) Error() string {
	return fmt.Sprintf("lockredis: Config.%s is %s: expected %s", e.Field, e.Value, e.Expected)
}

// normalize fills in the defaults and checks what can be checked without a server.
func (c *Config) normalize() error {
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"WaitLockingTimeout", &c.WaitLockingTimeout, DefaultWaitLockingTimeout},
		{"DefaultRetryInterval", &c.DefaultRetryInterval, DefaultDefaultRetryInterval},
		{"MaximumRetryInterval", &c.MaximumRetryInterval, DefaultMaximumRetryInterval},
	} {
		if *d.value < 0 {
			return &ConfigError{d.name, d.value.String(), "zero, for the default, or more"}
		}
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if c.DefaultRetryInterval > c.MaximumRetryInterval {
		return &ConfigError{"DefaultRetryInterval", c.DefaultRetryInterval.String(), "at most MaximumRetryInterval, which is " + c.MaximumRetryInterval.String()}
	}
	if c.Namespace == "" {
		c.Namespace = DefaultNamespace
	}
	switch {
	case c.Client != nil && c.RedisURL != "":
		return &ConfigError{"RedisURL", rediskit.RedactURL(c.RedisURL), "no URL beside a Client"}
	case c.Client != nil && c.RedisOptions != nil:
		return &ConfigError{"RedisOptions", "set", "no options beside a Client"}
	case c.Client == nil && c.RedisURL == "":
		c.RedisURL = os.Getenv(URLVariable)
	}
	if c.Client == nil && c.RedisURL == "" {
		return &ConfigError{"RedisURL", "empty", "a URL, there or in the variable " + URLVariable + "; a local server usually has redis://localhost:6379"}
	}
	return nil
}

// connect opens the client and checks the server.
func (c *Config) connect(ctx context.Context) (client redis.UniversalClient, own bool, err error) {
	if c.Client != nil {
		return c.Client, false, rediskit.Check(ctx, c.Client, "the given client", rediskit.DefaultDialTimeout, oldestServer)
	}
	opts, err := rediskit.OptionsFromURL(c.RedisURL)
	if err != nil {
		return nil, false, err
	}
	// A command is sent again by this package alone, and only where that is safe.
	opts.MaxRetries = -1
	// A caller whose context is cancelled may have to wait for it.
	if opts.ReadTimeout == 0 {
		opts.ReadTimeout = DefaultReadTimeout
	}
	if c.RedisOptions != nil {
		c.RedisOptions(opts)
	}
	timeout := opts.DialTimeout
	if timeout <= 0 {
		timeout = rediskit.DefaultDialTimeout
	}
	opts.ContextTimeoutEnabled = true
	for {
		client = redis.NewUniversalClient(opts)
		err := rediskit.Check(ctx, client, strings.Join(opts.Addrs, ","), timeout, oldestServer)
		slotted := false
		if err == nil {
			slotted, err = inCluster(ctx, client)
		}
		if _, knows := client.(*redis.ClusterClient); err == nil && (knows || !slotted) {
			return client, true, nil
		}
		_ = client.Close() // it is not used, or the error that matters is the one at hand
		if err != nil {
			return nil, false, err
		}
		opts.IsClusterMode = true // the URL is that of one node
	}
}

// inCluster says whether the server is a node of a cluster, so that keys of different
// slots can't be in one call.
func inCluster(ctx context.Context, client redis.UniversalClient) (bool, error) {
	if _, ok := client.(*redis.ClusterClient); ok {
		return true, nil
	}
	info, err := client.Info(ctx, "cluster").Result()
	return strings.Contains(info, "cluster_enabled:1"), err
}

// alone refuses a client that knows one node of a cluster of several.
func alone(ctx context.Context, client redis.UniversalClient) error {
	if _, ok := client.(*redis.ClusterClient); ok {
		return nil
	}
	info := client.ClusterInfo(ctx).Val() // where it is not allowed, MOVED tells later
	_, rest, found := strings.Cut(info, "cluster_size:")
	size, _, _ := strings.Cut(rest, "\r\n")
	if n, err := strconv.Atoi(size); found && err == nil && n > 1 {
		return &ConfigError{"Client", "of one node of a cluster that has " + size, "a *redis.ClusterClient, such as NewUniversalClient makes with IsClusterMode"}
	}
	return nil
}
