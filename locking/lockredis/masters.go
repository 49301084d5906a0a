package lockredis

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// masters notices that another server of a cluster has the locks of this process: a replica
// in its master's place, or a master that was restarted. It may have forgotten them. The
// push connection breaks for the one node only that it is at.
//
// While anything is held, each node that has some of it is asked once a tick who it is, by
// one of the slots at stake, so that whoever has the slot by now is the one who answers. A
// node that has not answered the last time is left alone, and holds up no other.
//
// Invariants:
//  1. What a hub's answer is compared with was known before the request was sent that the
//     hub's locks were granted to. So a server that takes over just after a grant is noticed.
//  2. What is not known differs from everything: nothing is taken for granted of a server
//     that was asked for the first time, or that gave no answer in between.
//  3. While nothing is held there is neither a timer, after the last one has fired, nor a
//     command.
//
// What others extend or free without this process may be watched for too long, which costs a
// command a tick, until it is released here or lapses.
type masters struct {
	cluster *redis.ClusterClient // nil: there is nothing to notice that the push connection does not

	mu    sync.Mutex
	held  map[string]heldLock // by key
	hubs  map[*hub]struct{}   // those of what is held
	known map[string]string   // who answered last, by the address that was asked; "" after none
	asked map[string]bool     // addresses that have not answered yet
	timer *time.Timer
	armed bool

	refused sync.Once
}

// heldLock is a lock that was granted to this process, and that it has not released.
type heldLock struct {
	hub   *hub
	owner string
	token driver.Token
	until time.Time // zero: it does not expire
}

// incumbent is who has a hub, as far as the process needs to know. The masters' mu guards it.
type incumbent struct {
	locks int    // that this process holds of the hub
	who   string // who had the hub since before all of them were asked for; "": not known
}

func newMasters(client redis.UniversalClient) *masters {
	m := &masters{held: map[string]heldLock{}, hubs: map[*hub]struct{}{}, known: map[string]string{}, asked: map[string]bool{}}
	m.cluster, _ = client.(*redis.ClusterClient)
	return m
}

// whoHas is who had a hub when that was looked at last. It is to be asked before the
// request for its locks is sent.
func (m *masters) whoHas(ctx context.Context, h *hub) string {
	if m.cluster == nil {
		return ""
	}
	node := nodeOf(ctx, m.cluster, h)
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known[node]
}

// watch notes locks of a hub that were granted, and who had that before they were asked for.
func (p *Provider) watch(h *hub, holds []driver.Granted, who string) {
	m := p.masters
	if m.cluster == nil || len(holds) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range holds {
		g := &holds[i]
		old, had := m.held[g.Key]
		if had && old.token > g.Token {
			continue // this answer is older
		}
		if !had {
			h.incumbent.locks++
		}
		m.held[g.Key] = heldLock{h, g.Owner, g.Token, g.Until}
	}
	switch _, known := m.hubs[h]; {
	case !known:
		m.hubs[h], h.incumbent.who = struct{}{}, who
	case h.incumbent.who != who:
		h.incumbent.who = ""
	}
	if m.armed {
		return
	}
	m.armed = true
	if m.timer == nil {
		m.timer = time.AfterFunc(tickInterval, p.lookAtMasters)
	} else {
		m.timer.Reset(tickInterval)
	}
}

// released forgets locks that are about to be released. Nobody works under them any more.
func (m *masters) released(holds []driver.Hold) {
	if m.cluster == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range holds {
		h := &holds[i]
		if l, ok := m.held[h.Key]; ok && (h.Token == l.token || h.Token == 0 && h.Owner == l.owner) {
			m.drop(h.Key, l)
		}
	}
}

// extended notes what the server has said of locks. Those that this process was not granted
// are not watched, since they may have been released in the meantime.
func (m *masters) extended(holds []driver.Hold, answers []driver.Extension) {
	if m.cluster == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range holds {
		l, ok := m.held[holds[i].Key]
		switch a := &answers[i]; {
		case !ok || l.token != holds[i].Token || a.Err != nil:
		case a.Held:
			l.until = a.Until
			m.held[holds[i].Key] = l
		default:
			m.drop(holds[i].Key, l)
		}
	}
}

// drop requires mu.
func (m *masters) drop(key string, l heldLock) {
	delete(m.held, key)
	if l.hub.incumbent.locks--; l.hub.incumbent.locks == 0 {
		delete(m.hubs, l.hub)
	}
}

// lookAtMasters asks each node that has locks of this process who it is.
func (p *Provider) lookAtMasters() {
	if p.life.enter() != nil {
		return
	}
	defer p.life.leave()
	for node, hubs := range p.masters.toAsk(time.Now()) {
		if !p.masters.ask(node) { // the last command hangs
			p.told(node, hubs, "")
			p.masters.cluster.ReloadState(context.Background())
			continue
		}
		if p.life.enter() != nil {
			return
		}
		go func() {
			defer p.life.leave()
			ctx, cancel := context.WithTimeout(context.Background(), tickInterval)
			defer cancel()
			who := p.askWho(ctx, hubs[0])
			p.masters.answered(node)
			p.told(node, hubs, who)
		}()
	}
}

// toAsk returns the hubs of what is held, by the nodes that have them, and has the timer fire
// again if there are any.
func (m *masters) toAsk(now time.Time) map[string][]*hub {
	m.mu.Lock()
	for key, l := range m.held {
		if !l.until.IsZero() && now.After(l.until) {
			m.drop(key, l)
		}
	}
	m.armed = len(m.held) > 0
	if m.armed {
		m.timer.Reset(tickInterval)
	}
	hubs := make([]*hub, 0, len(m.hubs))
	for h := range m.hubs { // in another order each time, so that each has its turn to be the one asked by
		hubs = append(hubs, h)
	}
	m.mu.Unlock()
	byNode := map[string][]*hub{}
	for _, h := range hubs {
		node := nodeOf(context.Background(), m.cluster, h)
		byNode[node] = append(byNode[node], h)
	}
	return byNode
}

// ask notes that a node is being asked, unless it is already.
func (m *masters) ask(node string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked[node] {
		return false
	}
	m.asked[node] = true
	return true
}

func (m *masters) answered(node string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.asked, node)
}

// askWho asks who has a hub. It answers "" when nobody says so.
func (p *Provider) askWho(ctx context.Context, h *hub) string {
	reply, err := p.send(ctx, whoScript, []any{"evalsha", whoScript.sha, 1, h.shared[0]})
	who, ok := reply.(string)
	if err == nil && (!ok || who == "") {
		err = badReply(whoScript.name, reply)
	}
	if err != nil && !lost(err) && !passing(err) {
		p.masters.refused.Do(func() {
			p.log.Warn("lockredis: a node of the cluster does not tell who it is; when it fails over, locks without an expiry may not be noticed to be lost", "error", err)
		})
	}
	return who
}

// told acts on who has some hubs by now. "" is that nobody has said so.
func (p *Provider) told(node string, hubs []*hub, who string) {
	m := p.masters
	changed := false
	m.mu.Lock()
	m.known[node] = who
	for _, h := range hubs {
		if h.incumbent.who != who {
			h.incumbent.who = who
			changed = changed || who != "" && h.incumbent.locks > 0
		}
	}
	m.mu.Unlock()
	if changed {
		p.log.Debug("lockredis: a node of the cluster has locks of this process that it may not know; all locks are verified", "node", node)
		p.sightLost()
	}
}

func (m *masters) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.timer != nil {
		m.timer.Stop()
	}
}
