package lockredis_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

func Example_sentinel() {
	// snippet: sentinel
	provider := lockredis.New(lockredis.Config{
		RedisURL: os.Getenv("LOCKING_REDIS_URL"), // user and password are those of the master
		RedisOptions: func(o *redis.UniversalOptions) {
			o.MasterName = "mymaster"
			o.Addrs = []string{"sentinel-1:26379", "sentinel-2:26379", "sentinel-3:26379"}
			o.SentinelPassword = os.Getenv("SENTINEL_PASSWORD")
		},
	})
	// snippet: end
	_ = provider
}

func Example_cluster() {
	// snippet: cluster
	provider := lockredis.New(lockredis.Config{
		RedisURL: "redis://node-1:6379", // any node: it is asked for the others
		RedisOptions: func(o *redis.UniversalOptions) {
			o.Addrs = append(o.Addrs, "node-2:6379", "node-3:6379") // should the first one be down at the start
		},
	})
	// snippet: end
	_ = provider
}

func Example_tag() {
	// snippet: tag
	provider := lockredis.New(lockredis.Config{
		RedisURL:  "redis://node-1:6379",
		Namespace: "{medusa_lock}:", // one slot for all locks; Medusa's option is namespace, too
	})
	// snippet: end
	_ = provider
}

func Example_tls() {
	// snippet: tls
	provider := lockredis.New(lockredis.Config{
		RedisURL: "rediss://locks:" + os.Getenv("LOCKS_PASSWORD") + "@redis.internal:6379",
		RedisOptions: func(o *redis.UniversalOptions) {
			authorities := x509.NewCertPool() // only where the server's is not one of the system's
			authorities.AppendCertsFromPEM(mustRead("/etc/ssl/internal-ca.pem"))
			o.TLSConfig = &tls.Config{RootCAs: authorities, ServerName: "redis.internal", MinVersion: tls.VersionTLS12}
		},
	})
	// snippet: end
	_ = provider
}

func Example_client() {
	// snippet: client
	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: []string{"node-1:6379", "node-2:6379", "node-3:6379"},
	})
	defer client.Close() // it is yours: the provider does not close it
	provider := lockredis.New(lockredis.Config{Client: client})
	// snippet: end
	_ = provider
}

func mustRead(name string) []byte {
	text, err := os.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return text
}
