package lockredis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/rediskit"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// ErrStaleToken is matched by [*StaleTokenError].
var ErrStaleToken = errors.New("lockredis: the fencing token is stale")

// StaleTokenError means that a write was refused, since its token is older than one
// that has been seen: the writer has lost its lock to another. Nothing was written.
type StaleTokenError struct {
	Resource string
	Token    driver.Token
	// Newest is the newest token that has been seen. It is zero, and nothing was
	// asked, when Token is.
	Newest driver.Token
}

func (e *StaleTokenError) Error() string {
	if e.Token == 0 {
		return fmt.Sprintf("lockredis: a write to %.128q without a token is refused", e.Resource)
	}
	return fmt.Sprintf("lockredis: a write to %.128q with token %d is refused: token %d has been seen", e.Resource, e.Token, e.Newest)
}

// Is makes the error match [ErrStaleToken].
func (e *StaleTokenError) Is(target error) bool { return target == ErrStaleToken }

// FenceError names a part of a fenced write that cannot be, and what was expected.
type FenceError struct{ Field, Value, Expected string }

func (e *FenceError) Error() string {
	return fmt.Sprintf("lockredis: a fenced write's %s is %s: expected %s", e.Field, e.Value, e.Expected)
}

// Fence lets writes reach Redis only with a token that is not older than any which
// was used before for the same resource. So a holder that was paused past the end
// of its lock cannot overwrite what the next holder has written. The comparison and
// the write are one step on the server.
//
// A resource is what a lock protects; its name may hold any bytes, and the key that
// is written is often the best one. All its tokens must come from the lock of one
// key at one provider: the tokens of different locks do not compare. All its
// writers must use the fence, with the same name.
//
// A lock's holder that means to read before it writes calls Raise first. Until the
// new token has been seen, an old one is let through, also between a read and the
// write that follows from it.
//
// On a cluster all keys of a write must be in the hash slot of the resource's name:
// they are it, or have the same {tag}. The server refuses others.
//
// The fence of a resource is one key, "~lockstep:{…}:f:" and the name, beside the
// data. It is as lasting as these: a server that loses them, in a failover or by
// FLUSHALL, has forgotten the newest token as well.
//
// Methods may be called concurrently. A write whose answer is lost may have been
// carried out; a client that sends it again, as go-redis does unless MaxRetries is
// -1, may carry it out twice, as it may any other write.
type Fence struct {
	Client redis.Scripter
	// Retention is for how long a fence is kept after the last write; zero is for
	// ever, which costs about 100 bytes for each resource. It has to be longer than
	// any holder can be paused, or any write delayed, after it has lost its lock:
	// once the fence is gone, every token is let through. A day is a good choice
	// where resources come and go.
	Retention time.Duration
}

// Command is one command on one key: see [Cmd].
type Command struct {
	name, key string
	args      []any
}

// Cmd makes a command of a fenced write, such as Cmd("SET", key, value) or
// Cmd("HSET", key, field, value). It must be one that has one key, which is its
// first argument. Arguments are encoded as go-redis does it.
func Cmd(name, key string, args ...any) Command { return Command{name, key, args} }

// FencedScript is a user's own Lua script behind a fence; [NewFencedScript] makes it.
type FencedScript struct{ script *redis.Script }

// NewFencedScript makes a fenced script. Its body has KEYS, ARGV and its result as any
// Redis script has. It must not name the fence's own key.
func NewFencedScript(body string) *FencedScript {
	return &FencedScript{redis.NewScript(fenceSource + body)}
}

var (
	//go:embed fence.lua
	fenceSource string
	//go:embed fence_write.lua
	fenceWriteSource string

	fenceWriteScript = redis.NewScript(strings.Replace(fenceWriteSource, "--include fence.lua\n", fenceSource, 1))
)

// Raise refuses, from now on, the writes with older tokens than this one. It returns
// [*StaleTokenError] when a newer one has been seen.
func (f Fence) Raise(ctx context.Context, resource string, token driver.Token) error {
	_, err := f.run(ctx, fenceWriteScript, resource, token, nil, nil)
	return err
}

// Write carries out the commands, in order and with nothing between them, and
// returns what each of them answers; a missing value is nil. It returns
// [*StaleTokenError], and has written nothing, when a newer token has been seen, or
// when the token is zero.
//
// Redis undoes nothing: when a command fails, at a key of another type say, those
// before it stand, the rest is not carried out, and its error is returned.
func (f Fence) Write(ctx context.Context, resource string, token driver.Token, commands ...Command) ([]any, error) {
	if len(commands) == 0 {
		return nil, &FenceError{"commands", "[]", "at least one command; Raise writes nothing"}
	}
	keys := make([]string, len(commands))
	var args []any
	for i, c := range commands {
		if c.name == "" || c.key == "" {
			return nil, &FenceError{"command", fmt.Sprintf("%.40q on key %.128q", c.name, c.key), "a name and a key that are not empty"}
		}
		keys[i] = c.key
		args = append(append(args, c.name, len(c.args)), c.args...)
	}
	reply, err := f.run(ctx, fenceWriteScript, resource, token, keys, args)
	if err != nil {
		return nil, err
	}
	answers, ok := reply.([]any)
	if !ok || len(answers) != len(commands) {
		return nil, &ReplyError{"fence_write.lua", fmt.Sprintf("%.200v", reply), strconv.Itoa(len(commands)) + " answers"}
	}
	return answers, nil
}

// Run runs a script of the user's own in place of commands. Its result may be nil.
// Errors are as in Write.
func (f Fence) Run(ctx context.Context, s *FencedScript, resource string, token driver.Token, keys []string, args ...any) (any, error) {
	return f.run(ctx, s.script, resource, token, keys, args)
}

func (f Fence) run(ctx context.Context, s *redis.Script, resource string, token driver.Token, keys []string, args []any) (any, error) {
	switch {
	case f.Client == nil:
		return nil, &FenceError{"client", "nil", "a Redis client"}
	case resource == "":
		return nil, &FenceError{"resource", `""`, "a name that is not empty"}
	case f.Retention < 0, f.Retention > 0 && f.Retention < time.Millisecond:
		return nil, &FenceError{"retention", f.Retention.String(), "zero, for ever, or at least 1ms"}
	case token == 0:
		return nil, &StaleTokenError{Resource: resource}
	}
	all := append([]string{fenceKey(resource)}, keys...)
	reply, err := s.Run(ctx, f.Client, all, append([]any{tokenText(token), f.Retention.Milliseconds()}, args...)...).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil //nolint:nilnil // a script may have no result
	}
	if answered, ok := errors.AsType[redis.Error](err); ok {
		if text, stale := strings.CutPrefix(answered.Error(), "STALETOKEN "); stale {
			newest, e := strconv.ParseUint(text, 10, 64)
			if e != nil {
				return nil, &ReplyError{"fence.lua", strconv.Quote(text), "the newest token"}
			}
			return nil, &StaleTokenError{resource, token, driver.Token(newest)}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("lockredis: fenced write to %.128q: %w", resource, err)
	}
	return reply, nil
}

// fenceKey is where the newest token of a resource is kept: in the hash slot of its
// name.
func fenceKey(resource string) string {
	return "~lockstep:{" + rediskit.Tag(rediskit.Slot(resource)) + "}:f:" + resource
}
