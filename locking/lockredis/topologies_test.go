package lockredis_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockingtest"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// namespaces has a namespace for each test, on servers that have one database. The
// format has one place, for a number.
type namespaces struct {
	format string

	mu     sync.Mutex
	byTest map[string]string
}

func (n *namespaces) of(t testing.TB) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.byTest == nil {
		n.byTest = map[string]string{}
	}
	ns, ok := n.byTest[t.Name()]
	if !ok {
		ns = fmt.Sprintf(n.format, len(n.byTest))
		n.byTest[t.Name()] = ns
	}
	return ns
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
				left = append(left, strings.TrimSpace(fmt.Sprintf("%.200q %s", keys.Val(), content(bg, client, keys.Val()))))
			}
		}
	}
	slices.SortFunc(left, cmp.Compare[string])
	return left
}

func conformance(t *testing.T, format string, servers []*redistest.Server, client func(testing.TB) redis.UniversalClient) {
	t.Helper()
	ns := &namespaces{format: format}
	lockingtest.RunProvider(t, lockingtest.Subject{
		New: func(t testing.TB) driver.Provider {
			return lockredis.New(lockredis.Config{Client: client(t), Namespace: ns.of(t)})
		},
		Shared: true,
		Left:   func(t testing.TB) []string { return leftOf(t, servers, ns.of(t)) },
	})
}

func TestTheProviderKeepsItsContractOnAClusterWhenTheNamespaceHasATag(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	client := c.Client()
	conformance(t, "{t%03d}:", c.Masters, func(testing.TB) redis.UniversalClient { return client })
}

func TestTheProviderKeepsItsContractOnACluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	client := c.Client()
	conformance(t, "t%03d:", c.Masters, func(testing.TB) redis.UniversalClient { return client })
}
