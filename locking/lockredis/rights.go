package lockredis

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/rediskit"
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
// right that is missing. A server that cannot answer now says so when it is needed. Whether
// the user may use a lock shows when it is asked for: it may be some of them only.
func (p *Provider) checkRights(ctx context.Context) error {
	h := p.keys.hub(rediskit.Slot(p.cfg.Namespace))
	reply, err := p.send(ctx, rightsScript, []any{"evalsha", rightsScript.sha, 1, h.base + "r:" + p.self, p.keys.channel("r:" + p.self)})
	switch {
	case lost(err), passing(err):
		p.log.Info("lockredis: what the server's user may do could not be looked at", "error", err)
		return nil
	case denied(err, "key"):
		return &RightsError{[]string{"~" + p.keys.side + "*"}, err}
	case err != nil:
		return &RightsError{[]string{"+evalsha or +eval"}, err}
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

// deniedLocks names the locks where the server has refused one of them without saying which.
func deniedLocks(err error, places []place) error {
	if !denied(err, "key") {
		return err
	}
	e := &RightsError{Err: err}
	for i := range places[:min(len(places), 8)] {
		e.Missing = append(e.Missing, "~"+places[i].lock)
	}
	return e
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
