package lockredis

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// spreadPatience is for how long a strike of the clock waits for the servers that it
// spoke to side by side.
const spreadPatience = tickInterval / 2

// spread does something for each of a list, in its order, until that fails. On a cluster
// what concerns different nodes is done side by side, and a node that does not answer
// holds up nobody else: it is left alone until the call that hangs has ended. What is not
// done, some time later perhaps, is told to undone, which may be nil.
func spread[T any](ctx context.Context, p *Provider, list []T, of func(T) *hub, do func(context.Context, T) error, undone func()) {
	if undone == nil {
		undone = func() {}
	}
	cluster, ok := p.client.(*redis.ClusterClient)
	if !ok {
		for _, one := range list {
			if do(ctx, one) != nil {
				undone()
				return
			}
		}
		return
	}
	var round sync.WaitGroup
	for node, part := range byNode(ctx, cluster, list, of) {
		if !p.occupy(node) {
			undone()
			continue
		}
		round.Add(1)
		go func() {
			defer p.life.leave()
			defer round.Done()
			defer p.vacate(node)
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tickTime)
			defer cancel()
			for _, one := range part {
				if do(ctx, one) != nil {
					undone()
					return
				}
			}
		}()
	}
	awaitFor(&round, spreadPatience)
}

// byNode sorts a list by the nodes of a cluster that have what it concerns.
func byNode[T any](ctx context.Context, cluster *redis.ClusterClient, list []T, of func(T) *hub) map[string][]T {
	parts := map[string][]T{}
	for _, one := range list {
		node := nodeOf(ctx, cluster, of(one))
		parts[node] = append(parts[node], one)
	}
	return parts
}

// nodeOf is the address of the node that has a hub, as far as the client knows.
func nodeOf(ctx context.Context, cluster *redis.ClusterClient, h *hub) string {
	client, err := cluster.MasterForKey(ctx, h.shared[0])
	if err != nil {
		return ""
	}
	return client.Options().Addr
}

// occupy begins to speak to a node, unless something is under way there; it is for
// [lifecycle.leave] as well.
func (p *Provider) occupy(node string) bool {
	s := p.waits
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.clock.busy[node] || p.life.enter() != nil {
		return false
	}
	p.clock.busy[node] = true
	return true
}

func (p *Provider) vacate(node string) {
	s := p.waits
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(p.clock.busy, node)
}

// awaitFor returns when all are done, or after that time.
func awaitFor(all *sync.WaitGroup, bound time.Duration) {
	done := make(chan struct{})
	go func() {
		all.Wait()
		close(done)
	}()
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
