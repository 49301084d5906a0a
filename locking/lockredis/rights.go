package lockredis

import (
	"context"
	"errors"
	"fmt"
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

// checkRights tries what the scripts do, and a cluster's client beside: what a server says to
// a script does not name the right that is missing. A server that cannot answer now says so
// when it is needed. Whether the user may use a lock shows when it is asked for: it may be
// some of them only.
func (p *Provider) checkRights(ctx context.Context) error {
	h := p.keys.hub(rediskit.Slot(p.cfg.Namespace))
	args := append([]any{"evalsha", rightsScript.sha, 1, h.base + "r:" + p.self, p.keys.channel("r:" + p.self)}, p.furtherCommands()...)
	reply, err := p.send(ctx, rightsScript, args)
	switch {
	case lost(err), passing(err), refusesNow(err):
		p.log.Info("lockredis: what the server's user may do could not be looked at", "error", err)
		return nil
	case denied(err, "key"):
		return &RightsError{[]string{"~" + p.keys.side + "*"}, err}
	case denied(err, ""):
		return &RightsError{[]string{deniedCommand(err)}, err}
	case err != nil:
		return fmt.Errorf("lockredis: the server does not run the scripts that locks are made of: %w", err)
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

// furtherCommands are those that are needed on a cluster, and on no other server.
func (p *Provider) furtherCommands() (names []any) {
	if _, ok := p.client.(*redis.ClusterClient); ok {
		names = append(names, "asking", "command") // the client itself: after ASK, and to find keys
	}
	if p.keys.slotted {
		names = append(names, "hlen")
	}
	if !p.crossing.off {
		names = append(names, "hrandfield", "pexpire")
	}
	return names
}

// refusesNow says that the server refuses to write, for a reason that may pass: its memory is
// full, it could not save its data, or it has too few replicas.
func refusesNow(err error) bool {
	var answered redis.Error
	if !errors.As(err, &answered) {
		return false
	}
	switch word, _, _ := strings.Cut(answered.Error(), " "); word {
	case "OOM", "MISCONF", "NOREPLICAS":
		return true
	}
	return false
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

// deniedCommand is the right to the command that the server has refused to call a script by.
func deniedCommand(err error) string {
	_, quoted, _ := strings.Cut(err.Error(), "'")
	if name, _, ok := strings.Cut(quoted, "'"); ok {
		return "+" + name
	}
	return "+evalsha or +eval"
}

// deniedChannels says which channels are needed where the server has refused one of them.
func deniedChannels(err error, side string) error {
	if !denied(err, "channel") {
		return err
	}
	return &RightsError{[]string{"&" + side + "c:*", "&" + invalidated}, err}
}
