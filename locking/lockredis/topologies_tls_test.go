package lockredis_test

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// overTLS is how a provider is configured that trusts what these settings say.
func overTLS(s *redistest.Server, trust *tls.Config) lockredis.Config {
	return lockredis.Config{
		RedisURL:     strings.Replace(s.URL(), "rediss://", "rediss://default:"+secret+"@", 1),
		RedisOptions: func(o *redis.UniversalOptions) { o.TLSConfig, o.DialTimeout = trust, 2*time.Second },
	}
}

func TestTheProviderKeepsItsContractOverTLSAsAUserWithTheLeastRights(t *testing.T) {
	t.Parallel()
	ours := redistest.NewAuthority(t)
	s := redistest.StartTLS(t, ours)
	opts := allow(t, s, "locks", slices.Concat(rightsOnPage(t, "all"), rightsOnPage(t, "tracking")))
	opts.TLSConfig = ours.Trusting()
	client := redis.NewUniversalClient(opts)
	t.Cleanup(func() { client.Close() })
	conformance(t, "medusa_lock:t%08x:", []*redistest.Server{s}, client, nil)
}

func TestAServerWhoseAuthorityIsUnknownIsRefusedByNameAndWithoutThePassword(t *testing.T) {
	t.Parallel()
	ours, others := redistest.NewAuthority(t), redistest.NewAuthority(t)
	s := redistest.StartTLS(t, ours, "--requirepass", secret)
	if _, _, err := start(t, overTLS(s, ours.Trusting())); err != nil {
		t.Fatalf("with the right authority: %v", err)
	}
	for what, c := range map[string]struct {
		cfg  lockredis.Config
		want string
	}{
		"another authority": {overTLS(s, others.Trusting()), "certificate signed by unknown authority"},
		"the system's":      {lockredis.Config{RedisURL: strings.Replace(s.URL(), "rediss://", "rediss://default:"+secret+"@", 1)}, "certificate"},
		"no TLS":            {lockredis.Config{RedisURL: strings.Replace(s.URL(), "rediss://", "redis://default:"+secret+"@", 1)}, "Redis"},
	} {
		_, _, err := start(t, c.cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), s.Addr()) {
			t.Errorf("%s: %v, want %q and %q", what, err, c.want, s.Addr())
		}
		t.Logf("%s: %v", what, err)
	}
}
