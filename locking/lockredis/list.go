package lockredis

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

const (
	// pageLocks is about how many locks a page has that asks for no number.
	pageLocks = 100
	// maxPage is the most that a page may ask for.
	maxPage = 1000
	// hubsAtOnce is how many hubs one pipeline asks whether they hold anything.
	hubsAtOnce = 1024
)

// CursorError means that a listing was to go on at something that is no cursor.
type CursorError struct{ Cursor string }

func (e *CursorError) Error() string {
	return fmt.Sprintf("lockredis: the cursor of a listing is %.100q: expected the Next of a page, or nothing for the first one", e.Cursor)
}

// cursor is where a listing goes on. First come the hubs, whose records of holds
// are looked through; then, where they are asked for, the servers, whose keys are.
//
//	h:<slot>:<where among its records>
//	s:<where among its keys>:<address>   the address is empty for the first server
type cursor struct {
	keys bool // through with the records
	slot int
	at   string // "0" is the beginning
	addr string
}

func (c cursor) text() string {
	if c.keys {
		return "s:" + c.at + ":" + c.addr
	}
	return "h:" + strconv.Itoa(c.slot) + ":" + c.at
}

func (l *layout) parseCursor(text string) (cursor, error) {
	if text == "" {
		return cursor{at: "0"}, nil
	}
	kind, rest, _ := strings.Cut(text, ":")
	first, second, ok := strings.Cut(rest, ":")
	c := cursor{keys: kind == "s", at: second}
	number := second
	if c.keys {
		c.at, c.addr, number = first, second, first
	} else {
		var err error
		c.slot, err = strconv.Atoi(first)
		ok = ok && kind == "h" && err == nil && c.slot >= 0 && c.slot < len(l.hubs)
	}
	if _, err := strconv.ParseUint(number, 10, 64); !ok || err != nil {
		return cursor{}, &CursorError{text}
	}
	return c, nil
}

// List implements [driver.Inspector]. It pages through the records of what is held,
// and with IncludeForeign then through all keys of the namespace (SCAN) for locks
// without a record. A page can have no locks and still a next one. One call looks
// at about Limit records or keys, at most 1,000. A lock may come twice when many
// others come or go meanwhile.
//
// On a cluster the records of one slot are a page at least, and the servers are
// looked through one after the other. One that joins meanwhile may be left out.
func (p *Provider) List(ctx context.Context, req driver.ListRequest) (driver.Page, error) {
	if err := p.life.enter(); err != nil {
		return driver.Page{}, err
	}
	defer p.life.leave()
	at, err := p.keys.parseCursor(req.Cursor)
	if err != nil {
		return driver.Page{}, err
	}
	limit := min(req.Limit, maxPage)
	if limit <= 0 {
		limit = pageLocks
	}
	page, err := p.page(ctx, at, limit, req.IncludeForeign)
	if err != nil {
		return driver.Page{}, fmt.Errorf("lockredis: list: %w", err)
	}
	return page, nil
}

func (p *Provider) page(ctx context.Context, at cursor, limit int, foreign bool) (driver.Page, error) {
	if at.keys {
		return p.foreignPage(ctx, at, limit)
	}
	h, err := p.nextHub(ctx, at)
	switch {
	case err != nil:
		return driver.Page{}, err
	case h == nil && foreign:
		return driver.Page{Next: cursor{keys: true, at: "0"}.text()}, nil
	case h == nil:
		return driver.Page{}, nil
	}
	args := append((&group{hub: h}).command(listScript, 2), at.at, limit)
	locks, next, err := p.states(ctx, args, sureSoon)
	if err != nil {
		return driver.Page{}, err
	}
	page := driver.Page{Locks: locks}
	slot := h.slot
	if next == "0" {
		slot++
	}
	switch {
	case slot < len(p.keys.hubs):
		page.Next = cursor{slot: slot, at: next}.text()
	case foreign:
		page.Next = cursor{keys: true, at: "0"}.text()
	}
	return page, nil
}

// nextHub returns the first hub from the cursor on that has records, or nil. Where
// there is only one, it is that.
func (p *Provider) nextHub(ctx context.Context, at cursor) (*hub, error) {
	if !p.keys.slotted || at.at != "0" {
		return p.keys.hub(at.slot), nil
	}
	hubs := p.keys.all()
	from, _ := slices.BinarySearchFunc(hubs, at.slot, func(h *hub, slot int) int { return h.slot - slot })
	for some := range slices.Chunk(hubs[from:], hubsAtOnce) {
		there, err := p.nonEmpty(ctx, some, func(line redis.Pipeliner, h *hub) *redis.IntCmd {
			return line.HLen(ctx, h.shared[holdsKey])
		})
		if err != nil {
			return nil, err
		}
		if len(there) > 0 {
			return there[0], nil
		}
	}
	return nil, nil //nolint:nilnil // no hub is an answer
}

// nonEmpty returns those of the hubs for which there is something to count, in one
// round trip to each server.
func (p *Provider) nonEmpty(ctx context.Context, hubs []*hub, count func(redis.Pipeliner, *hub) *redis.IntCmd) (there []*hub, err error) {
	err = p.again(ctx, func() error {
		there = nil
		line := p.client.Pipeline()
		counts := make([]*redis.IntCmd, len(hubs))
		for i, h := range hubs {
			counts[i] = count(line, h)
		}
		if _, err := line.Exec(ctx); err != nil {
			return err
		}
		for i, c := range counts {
			if c.Val() > 0 {
				there = append(there, hubs[i])
			}
		}
		return nil
	})
	return there, err
}

// states asks list.lua, until it is sure or the time is up.
func (p *Provider) states(ctx context.Context, args []any, bound time.Duration) (locks []driver.State, next string, err error) {
	_, err = p.untilSure(ctx, bound, func() (unsure bool, err error) {
		reply, err := p.callAgain(ctx, listScript, args)
		if err == nil {
			locks, next, unsure, err = p.readStates(reply)
		}
		return unsure, err
	})
	return locks, next, err
}

// readStates reads what list.lua answered.
func (p *Provider) readStates(reply any) (locks []driver.State, next string, unsure bool, err error) {
	list, ok := reply.([]any)
	r := reader{list: list}
	micros := r.number()
	next = r.text()
	for len(r.list) > 0 && !r.bad {
		key, held := p.keys.key(r.text()), r.nested()
		locks = append(locks, held.state(key, micros))
		r.bad, unsure = r.bad || held.bad, unsure || held.unsure
	}
	if !ok || r.bad {
		return nil, "", false, badReply(listScript.name, reply)
	}
	return locks, next, unsure, nil
}

// foreignPage looks through keys of the namespace for locks without a valid record.
func (p *Provider) foreignPage(ctx context.Context, at cursor, limit int) (driver.Page, error) {
	nodes, err := p.nodes(ctx)
	if err != nil {
		return driver.Page{}, err
	}
	n := slices.IndexFunc(nodes, func(n node) bool { return n.addr >= at.addr })
	if n < 0 {
		return driver.Page{}, nil
	}
	from, err := strconv.ParseUint(at.at, 10, 64)
	if err != nil || nodes[n].addr != at.addr {
		from = 0
	}
	found, next, err := nodes[n].client.ScanType(ctx, from, globEscaped(p.cfg.Namespace)+"*", int64(limit), "string").Result()
	if err != nil {
		return driver.Page{}, err
	}
	var page driver.Page
	if page.Locks, err = p.foreigners(ctx, found); err != nil {
		return driver.Page{}, err
	}
	if next != 0 {
		page.Next = cursor{keys: true, at: strconv.FormatUint(next, 10), addr: nodes[n].addr}.text()
	} else if n+1 < len(nodes) {
		page.Next = cursor{keys: true, at: "0", addr: nodes[n+1].addr}.text()
	}
	return page, nil
}

// foreigners returns those of the stored locks that have no valid record.
func (p *Provider) foreigners(ctx context.Context, stored []string) ([]driver.State, error) {
	slices.Sort(stored)
	stored = slices.Compact(stored)
	names := make([]string, 0, len(stored))
	for _, lock := range stored {
		if key := p.keys.key(lock); key != "" {
			names = append(names, key)
		}
	}
	var found []driver.State
	groups := p.keys.groups(names)
	for i := range groups {
		locks, _, err := p.states(ctx, groups[i].command(listScript, 0), sureSoon)
		if err != nil {
			return nil, err
		}
		for j := range locks {
			if locks[j].Foreign {
				found = append(found, locks[j])
			}
		}
	}
	return found, nil
}

// node is a server whose keys can be looked through.
type node struct {
	addr   string
	client redis.Cmdable
}

// nodes returns the masters of a cluster by address, or the one server.
func (p *Provider) nodes(ctx context.Context) ([]node, error) {
	cluster, ok := p.client.(*redis.ClusterClient)
	if !ok {
		return []node{{client: p.client}}, nil
	}
	var mu sync.Mutex
	var all []node
	err := cluster.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, node{c.Options().Addr, c})
		return nil
	})
	slices.SortFunc(all, func(a, b node) int { return cmp.Compare(a.addr, b.addr) })
	return all, err
}

// globEscaped is a text as SCAN's pattern matches it literally.
func globEscaped(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `^`, `\^`, `-`, `\-`).Replace(text)
}
