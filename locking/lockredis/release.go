package lockredis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Release implements [driver.Provider]. It is sent once: a second release of the
// same hold could not tell that the first had freed it.
func (p *Provider) Release(ctx context.Context, holds []driver.Hold) ([]bool, error) {
	if err := p.life.enter(); err != nil {
		return nil, err
	}
	defer p.life.leave()
	answers := make([]bool, len(holds))
	for _, g := range p.groups(keysOf(holds)) {
		args := make([]any, 0, 2*len(g.at))
		for _, at := range g.at {
			args = append(args, holds[at].Owner, tokenText(holds[at].Token))
		}
		reply, err := releaseScript.Run(ctx, p.client, g.pairs(), args...).Result()
		if err != nil {
			return nil, fmt.Errorf("lockredis: release: %w", err)
		}
		freed, err := numbers("release.lua", reply, len(g.at))
		if err != nil {
			return nil, err
		}
		for i, at := range g.at {
			answers[at] = freed[i] == 1
		}
	}
	return answers, nil
}

// Extend implements [driver.Provider].
func (p *Provider) Extend(ctx context.Context, ttl time.Duration, holds []driver.Hold) ([]driver.Extension, error) {
	if err := p.life.enter(); err != nil {
		return nil, err
	}
	defer p.life.leave()
	answers := make([]driver.Extension, len(holds))
	for _, g := range p.groups(keysOf(holds)) {
		args := make([]any, 0, 1+2*len(g.at))
		args = append(args, max(ttl.Milliseconds(), 1))
		for _, at := range g.at {
			args = append(args, holds[at].Owner, tokenText(holds[at].Token))
		}
		sent := time.Now()
		reply, err := extendScript.Run(ctx, p.client, g.pairs(), args...).Result()
		if err != nil {
			return nil, fmt.Errorf("lockredis: extend: %w", err)
		}
		left, err := numbers("extend.lua", reply, len(g.at))
		if err != nil {
			return nil, err
		}
		for i, at := range g.at {
			if left[i] != -2 {
				answers[at] = driver.Extension{Held: true, Until: until(sent, left[i])}
			}
		}
	}
	return answers, nil
}

// scanCount is how many keys one step of a scan looks at.
const scanCount = 500

// ReleaseAll implements [driver.Provider]. It pages through the namespace, and
// frees each lock by comparison, so that one which another owner takes meanwhile
// stays.
func (p *Provider) ReleaseAll(ctx context.Context, owner string) (int, error) {
	if err := p.life.enter(); err != nil {
		return 0, err
	}
	defer p.life.leave()
	cluster, ok := p.client.(*redis.ClusterClient)
	if !ok {
		return p.releaseAllOf(ctx, p.client, owner)
	}
	var mu sync.Mutex
	total := 0
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		n, err := p.releaseAllOf(ctx, c, owner)
		mu.Lock()
		defer mu.Unlock()
		total += n
		return err
	})
	return total, err
}

// releaseAllOf frees what the owner has on one server.
func (p *Provider) releaseAllOf(ctx context.Context, c redis.UniversalClient, owner string) (int, error) {
	total := 0
	for cursor := uint64(0); ; {
		locks, next, err := c.Scan(ctx, cursor, escapeGlob(p.cfg.Namespace)+"*", scanCount).Result()
		if err != nil {
			return total, fmt.Errorf("lockredis: page through the locks: %w", err)
		}
		n, err := p.releaseOwned(ctx, c, owner, locks)
		total += n
		if err != nil {
			return total, err
		}
		if cursor = next; cursor == 0 {
			return total, nil
		}
	}
}

// releaseOwned frees those of the locks that are the owner's.
func (p *Provider) releaseOwned(ctx context.Context, c redis.UniversalClient, owner string, locks []string) (int, error) {
	if len(locks) == 0 {
		return 0, nil
	}
	owners := make([]*redis.StringCmd, len(locks))
	_, err := c.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, l := range locks {
			owners[i] = pipe.Get(ctx, l)
		}
		return nil
	})
	var answered redis.Error // one key that is gone, or is no string, says nothing of the others
	if err != nil && !errors.As(err, &answered) {
		return 0, fmt.Errorf("lockredis: read the locks' owners: %w", err)
	}
	var holds []driver.Hold
	for i, cmd := range owners {
		if cmd.Err() == nil && cmd.Val() == owner {
			holds = append(holds, driver.Hold{Key: strings.TrimPrefix(locks[i], p.cfg.Namespace), Owner: owner})
		}
	}
	if len(holds) == 0 {
		return 0, nil
	}
	freed, err := p.Release(ctx, holds)
	n := 0
	for _, f := range freed {
		if f {
			n++
		}
	}
	return n, err
}

// escapeGlob makes a text match itself in a pattern.
func escapeGlob(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}
