package lockredis_test

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockingtest"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// namespaceOf is a namespace for a test, on servers that have one database: the same at
// each run, so that its keys lie in the same slots. The format has one place, for a number.
func namespaceOf(t testing.TB, format string) string {
	sum := fnv.New32a()
	sum.Write([]byte(t.Name()))
	return fmt.Sprintf(format, sum.Sum32())
}

// leftOf lists what servers have of a namespace, beside what leftBehind allows.
func leftOf(t testing.TB, servers []*redistest.Server, ns string) []string {
	t.Helper()
	var left []string
	for _, s := range servers {
		client := s.Client()
		for keys := client.Scan(bg, 0, "*", 1000).Iterator(); keys.Next(bg); {
			_, name, side := strings.Cut(keys.Val(), fmt.Sprintf("}:@%d:%s:", len(ns), ns))
			_, queue, _ := strings.Cut(keys.Val(), "}:q:")
			switch {
			case !side && !strings.HasPrefix(keys.Val(), ns) && !strings.HasPrefix(queue, ns):
			case side && explained(bg, client, "~lockstep:{}:"+name):
			case side && slices.Contains([]string{"p:", "d:", "x:"}, name[:min(2, len(name))]) && client.PTTL(bg, keys.Val()).Val() > 0:
			default:
				left = appendLeft(bg, left, client, keys.Val())
			}
		}
	}
	slices.SortFunc(left, cmp.Compare[string])
	return left
}

// conformance runs the suite on servers that one client knows.
func conformance(t *testing.T, format string, servers []*redistest.Server, client redis.UniversalClient, except map[string]string) {
	t.Helper()
	lockingtest.RunProvider(t, lockingtest.Subject{
		New: func(t testing.TB) driver.Provider {
			return lockredis.New(lockredis.Config{Client: client, Namespace: namespaceOf(t, format)})
		},
		Shared: true,
		Left:   func(t testing.TB) []string { return leftOf(t, servers, namespaceOf(t, format)) },
		Except: except,
	})
}

func TestTheProviderKeepsItsContractOnAClusterWhenTheNamespaceHasATag(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	conformance(t, "{t%08x}:", c.Masters, c.Client(), nil)
}

func TestTheProviderKeepsItsContractOnACluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	conformance(t, "t%08x:", c.Masters, c.Client(), overSlots())
}
