package rediskit

import (
	"context"
	"crypto/sha1" //nolint:gosec // the name under which Redis knows a script
	"encoding/hex"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Script is a Lua script that is sent once to each server, and named after that.
type Script struct{ source, sha string }

// NewScript makes a script from its source.
func NewScript(source string) *Script {
	sum := sha1.Sum([]byte(source)) //nolint:gosec // as above
	return &Script{source, hex.EncodeToString(sum[:])}
}

// Run runs the script. A server that does not know it, because it is new or has
// restarted, is sent the source; it has then not run before.
func (s *Script) Run(ctx context.Context, c redis.UniversalClient, keys []string, args ...any) *redis.Cmd {
	cmd := c.EvalSha(ctx, s.sha, keys, args...)
	if err := cmd.Err(); err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
		return c.Eval(ctx, s.source, keys, args...)
	}
	return cmd
}
