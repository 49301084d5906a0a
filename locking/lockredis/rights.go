package lockredis

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// RightsError means that the server's user may not do what locks need.
type RightsError struct {
	// Missing are the rights that the user lacks, as ACL SETUSER takes them.
	Missing []string
	Err     error // what the server said, where it said something
}

func (e *RightsError) Error() string {
	text := "lockredis: the server's user lacks rights that locks need: " + strings.Join(e.Missing, " ")
	if e.Err != nil {
		text += " (" + e.Err.Error() + ")"
	}
	return text
}

func (e *RightsError) Unwrap() error { return e.Err }

// checkRights tries what the scripts do: what a server says to a script does not name the
// right that is missing. A server that cannot answer now says so when it is needed.
func (p *Provider) checkRights(ctx context.Context) error {
	pl := p.keys.place("\x00rights")
	own := p.keys.hub(pl.slot).base + "r:" + p.self
	reply, err := p.send(ctx, rightsScript, []any{"evalsha", rightsScript.sha, 2, own, pl.lock, p.keys.channel("r:" + p.self)})
	switch {
	case lost(err), passing(err):
		p.log.Info("lockredis: what the server's user may do could not be looked at", "error", err)
		return nil
	case err != nil:
		missing := p.deniedKeys(ctx, own, pl.lock)
		if len(missing) == 0 {
			missing = []string{"+evalsha or +eval"}
		}
		return &RightsError{missing, err}
	}
	list, ok := reply.([]any)
	r := reader{list: list}
	var missing []string
	for len(r.list) > 0 && !r.bad {
		missing = append(missing, r.text())
	}
	if !ok || r.bad {
		return badReply(rightsScript.name, reply)
	}
	if len(missing) > 0 {
		return &RightsError{Missing: missing}
	}
	return nil
}

// deniedKeys are the patterns of keys that the user may not use: a script that names keys
// of two patterns is refused without saying which.
func (p *Provider) deniedKeys(ctx context.Context, own, lock string) (missing []string) {
	for _, k := range []struct{ pattern, key string }{{"~" + p.keys.side + "*", own}, {"~" + p.cfg.Namespace + "*", lock}} {
		if denied(p.client.Exists(ctx, k.key).Err(), "key") {
			missing = append(missing, k.pattern)
		}
	}
	return missing
}

// denied says that the server has refused something for want of a right to that kind of
// thing.
func denied(err error, kind string) bool {
	var answered redis.Error
	return errors.As(err, &answered) && strings.HasPrefix(answered.Error(), "NOPERM") && strings.Contains(answered.Error(), kind)
}

// deniedChannels says which channels are needed where the server has refused one of them.
func deniedChannels(err error, side string) error {
	if !denied(err, "channel") {
		return err
	}
	return &RightsError{[]string{"&" + side + "c:*", "&" + invalidated}, err}
}
