package lockredis

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// lane is the way by which a command goes to the server.
type lane bool

const (
	// shared sends a command together with those of other callers, where there are
	// any: many callers then cost the server and this process far less.
	shared lane = true
	// direct sends a command by itself. A hand-over is: whoever is next waits for
	// it, and would wait for the others' commands too.
	direct lane = false
)

// send runs a script. A server that does not know it, because it is new or has
// restarted, is sent the source; the script has then not run before.
func (p *Provider) send(ctx context.Context, by lane, s *script, args []any) (any, error) {
	cmd := redis.NewCmd(ctx, args...)
	if err := p.process(ctx, by, cmd); err != nil {
		if !strings.HasPrefix(err.Error(), "NOSCRIPT") {
			return nil, err
		}
		again := append([]any{"eval", s.source}, args[2:]...)
		cmd = redis.NewCmd(ctx, again...)
		if err := p.process(ctx, by, cmd); err != nil {
			return nil, err
		}
	}
	return cmd.Result()
}

func (p *Provider) process(ctx context.Context, by lane, cmd *redis.Cmd) error {
	if by == shared && p.pipe != nil {
		return p.pipe.process(ctx, cmd)
	}
	return p.client.Process(ctx, cmd)
}

// lost says that the command may have been carried out although no answer came.
func lost(err error) bool {
	var answered redis.Error
	return err != nil && !errors.As(err, &answered)
}

// passing says that the server cannot answer now, and that it may soon: it loads
// its data, is a replica about to be promoted, or runs somebody's long script. The
// command was not carried out.
func passing(err error) bool {
	var answered redis.Error
	if !errors.As(err, &answered) {
		return false
	}
	word, _, _ := strings.Cut(answered.Error(), " ")
	switch word {
	case "LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY":
		return true
	}
	return false
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
