package lockredis

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// lane is the way by which a share goes to the server.
type lane int

const (
	// shared sends a share together with those of other callers, where there are
	// any: many callers then cost the server and this process far less.
	shared lane = iota
	// direct sends a share at once. A hand-over is: whoever is next waits for it, and
	// would wait for the others' too.
	direct
	// along sends a share with the next one that is sent directly, if that is soon.
	along
)

// ask has a share answered.
func (p *Provider) ask(ctx context.Context, by lane, s *share) error {
	switch {
	case p.pipe == nil:
		p.sendAlone(ctx, s)
		return s.err
	case by == shared:
		return p.pipe.process(ctx, s)
	case by == along:
		return p.pipe.processPatiently(ctx, s)
	default:
		return p.pipe.processAtOnce(ctx, s)
	}
}

// send runs a script. A server that does not know it, because it is new or has
// restarted, is sent the source; the script has then not run before.
func (p *Provider) send(ctx context.Context, s *script, args []any) (any, error) {
	cmd := p.process(ctx, args)
	if unknown(cmd.Err()) {
		cmd = p.process(ctx, append([]any{"eval", s.source}, args[2:]...))
	}
	return cmd.Result()
}

// sendAll runs a script once for each list of arguments, all in one round trip. Their errors
// are in what it returns.
func (p *Provider) sendAll(ctx context.Context, s *script, calls [][]any) []*redis.Cmd {
	cmds := make([]*redis.Cmd, len(calls))
	if len(calls) == 1 {
		cmds[0] = p.process(ctx, calls[0])
	} else {
		line := p.client.Pipeline()
		for i, args := range calls {
			cmds[i] = redis.NewCmd(ctx, args...)
			_ = line.Process(ctx, once{cmds[i]}) // it is sent by Exec
		}
		_, _ = line.Exec(ctx) // each command has its own error
		if i := slices.IndexFunc(cmds, func(c *redis.Cmd) bool { return lost(c.Err()) || passing(c.Err()) }); i >= 0 {
			p.reroute(ctx, cmds[i].Err())
		}
	}
	var at []int
	var again [][]any
	for i, cmd := range cmds {
		if unknown(cmd.Err()) {
			at, again = append(at, i), append(again, calls[i])
		}
	}
	if len(again) == 0 {
		return cmds
	}
	again[0] = append([]any{"eval", s.source}, again[0][2:]...) // the others' server knows it then
	for i, cmd := range p.sendAll(ctx, s, again) {
		cmds[at[i]] = cmd
	}
	return cmds
}

// sendBatch answers shares: those of acquire.lua in one call, those of release.lua
// in another, both in one round trip.
func (p *Provider) sendBatch(ctx context.Context, batch []*share) {
	if len(batch) == 1 {
		p.sendAlone(ctx, batch[0])
		return
	}
	releases, acquires := byScript(batch)
	if len(acquires) == 0 || len(releases) == 0 {
		p.sendShares(ctx, batch)
		return
	}
	sent := time.Now()
	line := p.client.Pipeline()
	free, take := p.command(releases), p.command(acquires)
	freed, taken := redis.NewCmd(ctx, *free...), redis.NewCmd(ctx, *take...)
	_ = line.Process(ctx, once{freed}) // first: it may free what is asked for
	_ = line.Process(ctx, once{taken})
	_, _ = line.Exec(ctx) // each command has its own error
	p.settleShares(ctx, releases, freed, sent)
	p.settleShares(ctx, acquires, taken, sent)
	p.called(free, freed.Err())
	p.called(take, taken.Err())
}

// byScript parts a batch. Most often it is a release, with the requests that go along.
func byScript(batch []*share) (releases, acquires []*share) {
	n := 0
	for n < len(batch) && batch[n].script == releaseScript {
		n++
	}
	if !slices.ContainsFunc(batch[n:], func(s *share) bool { return s.script == releaseScript }) {
		return batch[:n], batch[n:]
	}
	for _, s := range batch {
		if s.script == releaseScript {
			releases = append(releases, s)
		} else {
			acquires = append(acquires, s)
		}
	}
	return releases, acquires
}

func (p *Provider) sendAlone(ctx context.Context, s *share) { p.sendShares(ctx, []*share{s}) }

// sendShares answers shares of one script and one hub in one call.
func (p *Provider) sendShares(ctx context.Context, list []*share) {
	sent := time.Now()
	args := p.command(list)
	cmd := p.process(ctx, *args)
	p.settleShares(ctx, list, cmd, sent)
	p.called(args, cmd.Err())
}

// settleShares gives each share its answers. What the server refused as a whole, for
// the sake of one key perhaps, is sent one by one.
func (p *Provider) settleShares(ctx context.Context, list []*share, cmd *redis.Cmd, sent time.Time) {
	err := cmd.Err()
	if unknown(err) {
		cmd = p.process(ctx, append([]any{"eval", list[0].script.source}, cmd.Args()[2:]...))
		err = cmd.Err()
	}
	if err != nil && len(list) > 1 && !lost(err) && !passing(err) {
		for _, s := range list {
			p.sendAlone(ctx, s)
		}
		return
	}
	reply, _ := cmd.Val().([]any)
	want := list[0].script.trailing
	for _, s := range list {
		want += s.count
	}
	if err == nil && len(reply) != want {
		err = badReply(list[0].script.name, cmd.Val())
	}
	if err == nil && list[0].script.trailing > 0 {
		err = p.trailing(list, reply, sent)
	}
	var said string
	for _, s := range list {
		s.err, s.answers = err, nil
		if err == nil {
			s.answers, reply = reply[:s.count], reply[s.count:]
			if text, ok := s.answers[0].(string); ok && isPlace(text) {
				said = text
			}
			s.said = said
		}
	}
}

// trailing acts on what release.lua says after its answers: the grants that the
// release made to requests of this process, and whether dead waiters are left.
func (p *Provider) trailing(list []*share, reply []any, sent time.Time) error {
	r := reader{list: reply[len(reply)-2:]}
	told, ok := r.next().([]any)
	more := r.number()
	if !ok || r.bad {
		return badReply(list[0].script.name, reply)
	}
	for _, message := range told {
		text, _ := message.(string)
		p.hearText(text, sent)
	}
	for _, s := range list {
		s.more = more == 1
	}
	return nil
}

// command builds the call of a script for its shares.
func (p *Provider) command(list []*share) *[]any {
	s, names, room, successors := list[0].script, 0, 5+sharedKeys, 0
	for _, sh := range list {
		names += len(sh.names)
		room += len(sh.names) + len(sh.args)
		successors = max(successors, sh.successors)
	}
	made, ok := argLists.Get().(*[]any)
	if !ok {
		made = new([]any)
	}
	args := append(slices.Grow(*made, room), "evalsha", s.sha, sharedKeys+names)
	for i := range list[0].hub.shared {
		args = append(args, &list[0].hub.shared[i])
	}
	for _, sh := range list {
		args = append(args, sh.names...)
	}
	if s.self {
		args = append(args, p.self)
	}
	if s.names {
		args = append(args, successors)
	}
	for _, sh := range list {
		args = append(args, sh.args...)
	}
	*made = args
	return made
}

// argLists are the arguments of calls that have ended.
var argLists = sync.Pool{New: func() any { return new([]any) }}

// argsKept is how long a list is at most that is used again.
const argsKept = 2048

// called gives the memory of a call back whose command has been answered, and whose arguments
// nobody reads any more: what is sent again, with the source of the script, has a list of its
// own. A command without an answer may still be written. A client that is not ours may have
// hooks, which may keep the command.
func (p *Provider) called(args *[]any, err error) {
	if err != nil || !p.own || cap(*args) > argsKept {
		return
	}
	clear(*args)
	*args = (*args)[:0]
	argLists.Put(args)
}

// ended is ctx.Err, but for the moment between the deadline, which a connection
// heeds as well, and the context's noticing it.
func ended(ctx context.Context) error {
	if at, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(at) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// until is the moment before which a key with that many milliseconds left has
// surely not lapsed: counted from before the command was sent, less what clocks
// may drift apart.
func until(sent time.Time, left int64) time.Time {
	if left < 0 {
		return time.Time{}
	}
	d := time.Duration(left) * time.Millisecond
	return sent.Add(d - d/100 - 2*time.Millisecond)
}
