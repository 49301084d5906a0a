package lockredis

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// scanCount is how many entries one step through an index looks at.
const scanCount = 500

// ReleaseAll implements [driver.Provider]. It frees each lock by comparison, so
// that one which another owner takes meanwhile stays. Locks that other programs
// took for the owner are not among them.
func (p *Provider) ReleaseAll(ctx context.Context, owner string) (int, error) {
	if err := p.life.enter(); err != nil {
		return 0, err
	}
	defer p.life.leave()
	hubs, err := p.hubsOf(ctx, owner)
	if err != nil {
		return 0, fmt.Errorf("lockredis: look for the locks of an owner: %w", err)
	}
	total := 0
	for _, h := range hubs {
		n, err := p.releaseAllIn(ctx, h, owner)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// hubsOf returns the hubs in which an owner may have locks. Most slots of a cluster
// have none.
func (p *Provider) hubsOf(ctx context.Context, owner string) ([]*hub, error) {
	all := p.keys.all()
	if len(all) == 1 {
		return all, nil
	}
	var hubs []*hub
	for some := range slices.Chunk(all, hubsAtOnce) {
		there, err := p.nonEmpty(ctx, some, func(line redis.Pipeliner, h *hub) *redis.IntCmd {
			if listed(owner) {
				return line.ZCard(ctx, h.list(owner))
			}
			return line.HLen(ctx, h.shared[holdsKey])
		})
		if err != nil {
			return nil, err
		}
		hubs = append(hubs, there...)
	}
	return hubs, nil
}

// list is where the locks of an owner with a name are listed: see queue.lua.
func (h *hub) list(owner string) string { return h.base + "o:" + owner }

// listed says that the locks of an owner are listed by its name: see queue.lua.
func listed(owner string) bool {
	return owner != driver.Anonymous && !strings.HasPrefix(owner, "execute:")
}

func (p *Provider) releaseAllIn(ctx context.Context, h *hub, owner string) (int, error) {
	total := 0
	for cursor := uint64(0); ; {
		var entries []string
		var next uint64
		var err error
		if listed(owner) {
			entries, next, err = p.client.ZScan(ctx, h.list(owner), cursor, "", scanCount).Result()
		} else {
			entries, next, err = p.client.HScan(ctx, h.shared[holdsKey], cursor, "", scanCount).Result()
		}
		entries = everyOther(entries)
		if err != nil {
			return total, fmt.Errorf("lockredis: look through the locks of an owner: %w", err)
		}
		n, err := p.releaseOwned(ctx, owner, entries)
		total += n
		if err != nil {
			return total, err
		}
		if cursor = next; cursor == 0 {
			return total, nil
		}
	}
}

// everyOther drops the values, or scores, from what HSCAN and ZSCAN answer.
func everyOther(list []string) []string {
	var names []string
	for i := 0; i < len(list); i += 2 {
		names = append(names, list[i])
	}
	return names
}

// releaseOwned frees those of the locks that are in the namespace and the owner's. A
// record may outlive its lock, and another program may have taken that as an owner of
// the same name: an anonymous one above all.
func (p *Provider) releaseOwned(ctx context.Context, owner string, locks []string) (int, error) {
	var names []string
	for _, lock := range locks {
		if strings.HasPrefix(lock, p.cfg.Namespace) {
			names = append(names, p.keys.key(lock))
		}
	}
	total := 0
	for some := range slices.Chunk(names, tickKeys) {
		holds, err := p.ownHolds(ctx, owner, some)
		if err != nil {
			return total, fmt.Errorf("lockredis: look at the locks of an owner: %w", err)
		}
		if len(holds) == 0 {
			continue
		}
		freed, err := p.Release(ctx, holds)
		if err != nil {
			return total, err
		}
		for _, f := range freed {
			if f {
				total++
			}
		}
	}
	return total, nil
}

// ownHolds returns what the owner has of some keys, without what another program took.
func (p *Provider) ownHolds(ctx context.Context, owner string, keys []string) ([]driver.Hold, error) {
	var holds []driver.Hold
	groups := p.keys.groups(keys)
	for i := range groups {
		locks, _, err := p.states(ctx, groups[i].command(listScript, 0), sureAtLast)
		if err != nil {
			return nil, err
		}
		for j := range locks {
			if !locks[j].Foreign && locks[j].Owner == owner {
				holds = append(holds, driver.Hold{Key: locks[j].Key, Owner: owner, Token: locks[j].Token})
			}
		}
	}
	return holds, nil
}
