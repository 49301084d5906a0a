package lockredis

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// once is a command that the client does not send again by itself when no answer came.
// A client of a cluster does so whatever its MaxRetries say, since it counts redirections
// alike; and a release that is carried out twice is answered as if the lock had been lost.
// Redirections are followed all the same: the command has not been carried out then.
type once struct{ *redis.Cmd }

// NoRetry implements [redis.Cmder].
func (once) NoRetry() bool { return true }

// process sends a command. Its error is in what it returns.
func (p *Provider) process(ctx context.Context, args []any) *redis.Cmd {
	cmd := redis.NewCmd(ctx, args...)
	_ = p.client.Process(ctx, once{cmd}) // the command has the error
	p.reroute(ctx, cmd.Err())
	return cmd
}

// reroute has a cluster's client ask again which node has which slots when one of them
// gives no answer, or none that counts: its replica may be in its place by now. By itself
// it would ask once a minute.
func (p *Provider) reroute(ctx context.Context, err error) {
	if c, ok := p.client.(*redis.ClusterClient); ok && (lost(err) || passing(err)) {
		c.ReloadState(ctx)
	}
}

// unknown says that the server does not know a script.
func unknown(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") }

// lost says that the command may have been carried out although no answer came.
func lost(err error) bool {
	if err == nil {
		return false
	}
	_, answered := errors.AsType[redis.Error](err)
	return !answered
}

// nonLocal is what a script is told which comes upon a key that is on its way to another
// node of the cluster.
const nonLocal = "attempted to access a non local key"

// passing says that the server cannot answer now, and that it may soon: it loads
// its data, is a replica about to be promoted, runs somebody's long script, or is giving
// the slot to another node. The command was not carried out, or can be repeated.
func passing(err error) bool {
	var answered redis.Error
	if !errors.As(err, &answered) {
		return false
	}
	text := answered.Error()
	word, _, _ := strings.Cut(text, " ")
	switch word {
	case "LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY":
		return true
	}
	return strings.Contains(text, nonLocal)
}

// scriptError is an error that a script has answered for one of its requests.
type scriptError string

var _ redis.Error = scriptError("")

func (e scriptError) Error() string { return string(e) }

// RedisError implements [redis.Error].
func (scriptError) RedisError() {}
