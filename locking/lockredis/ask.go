package lockredis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// The modes in which acquire.lua is asked.
const (
	modeTry    = "try"
	modeWait   = "wait"
	modeTicket = "ticket"
)

// ask is a request as acquire.lua is asked: for the keys of one group.
type ask struct {
	req   *driver.Request
	group *group
	id    string // the same for as long as it is the same request
	mode  string
	place int64 // in the queue, once it has had one
}

// answer is what acquire.lua says.
type answer struct {
	kind   answerKind
	holds  []driver.Granted // of the group's keys, in its order
	busy   *driver.BusyError
	left   time.Duration // until the busy key lapses; negative: it does not
	place  int64
	alien  bool // the busy key's holder is another program
	more   bool // dead waiters are left: ask again
	circle *driver.DeadlockError
}

type answerKind int

const (
	answerGranted answerKind = iota
	answerBusy
	answerWaiting
	answerRevoked
	answerDeadlock
)

// The classes of rank that a request is asked with. That an owner holds something
// is for the script to see.
const (
	classCompensation = 0
	classOther        = 2
)

// put sends the ask once.
func (p *Provider) put(ctx context.Context, a *ask) (answer, error) {
	args := p.askCommand(a)
	sent := time.Now()
	reply, err := p.send(ctx, shared, acquireScript, args)
	if err != nil {
		return answer{}, err
	}
	return p.readAnswer(a, reply, sent)
}

func (p *Provider) askCommand(a *ask) []any {
	req := a.req
	args := a.group.command(acquireScript, 6+len(req.Enclosing))
	args = append(args, req.Owner, generationText(req.Generation), millis(req.TTL), a.id, a.mode, p.circumstances(a))
	for _, owner := range req.Enclosing {
		args = append(args, owner)
	}
	return args
}

// generationText is a generation as the scripts take it.
func generationText(g driver.Generation) string {
	if g == (driver.Generation{}) {
		return "0:0"
	}
	return strconv.FormatUint(g.Epoch, 10) + ":" + strconv.FormatUint(g.Attempt, 10)
}

// circumstances are what only a request that has to wait is asked for. They are in
// one text, which for most requests is the same.
func (p *Provider) circumstances(a *ask) string {
	live := p.liveness(a)
	if live == 0 && a.place == 0 && a.req.Rank == driver.Forward && a.req.Born == 0 {
		return p.plain
	}
	class := classOther
	if a.req.Rank == driver.Compensation {
		class = classCompensation
	}
	return fmt.Sprint(class, " ", a.req.Born, " ", a.place, " ", live, " ", p.self)
}

// liveness is what a request has to say of this process's liveness: nothing when
// it was said a moment ago, or when the request does not wait.
func (p *Provider) liveness(a *ask) int64 {
	now := time.Since(p.born)
	if a.mode == modeTry || now-time.Duration(a.group.hub.announced.Load()) < tickInterval {
		return 0
	}
	a.group.hub.announced.Store(int64(now))
	return livenessTime.Milliseconds()
}

// millis is a time to live as the scripts take it: 0 is none.
func millis(ttl time.Duration) int64 {
	if ttl <= 0 {
		return 0
	}
	return max(ttl.Milliseconds(), 1)
}

// ReplyError means that the server answered something the protocol does not know.
type ReplyError struct{ Script, Got, Expected string }

func (e *ReplyError) Error() string {
	return fmt.Sprintf("lockredis: %s answered %s, expected %s", e.Script, e.Got, e.Expected)
}

func badReply(script string, reply any) error {
	return &ReplyError{script, fmt.Sprintf("%.200v", reply), "what its header says"}
}

// readAnswer reads what acquire.lua answered.
func (p *Provider) readAnswer(a *ask, reply any, sent time.Time) (answer, error) {
	list, ok := reply.([]any)
	if !ok || len(list) == 0 {
		return answer{}, badReply(acquireScript.name, reply)
	}
	r := reader{list: list[1:]}
	var got answer
	switch kind, _ := list[0].(int64); kind {
	case 1:
		got.kind, got.holds = answerGranted, r.holds(a.req, a.group, sent)
	case 0, 2:
		if kind == 2 {
			got.kind, got.place = answerWaiting, r.number()
		} else {
			got.kind = answerBusy
		}
		at := r.number()
		if at < 1 || at > int64(len(a.group.at)) {
			return answer{}, badReply(acquireScript.name, reply)
		}
		got.busy = &driver.BusyError{Key: a.req.Keys[a.group.at[at-1]], Holder: r.text()}
		got.left = time.Duration(r.number()) * time.Millisecond
		if kind == 2 {
			got.alien = r.number() == 1
		}
		got.more = r.number() == 1
	case -1:
		got.kind = answerRevoked
	case -2:
		got.kind, got.circle = answerDeadlock, p.readCircle(&r)
	default:
		r.bad = true
	}
	if r.bad || len(r.list) > 0 {
		return answer{}, badReply(acquireScript.name, reply)
	}
	return got, nil
}

// readCircle reads the edges of a deadlock.
func (p *Provider) readCircle(r *reader) *driver.DeadlockError {
	e := &driver.DeadlockError{}
	for len(r.list) > 0 && !r.bad {
		e.Cycle = append(e.Cycle, driver.Wait{Owner: r.text(), Key: p.keys.key(r.text()), Holder: r.text()})
	}
	return e
}

// reader takes a reply apart. A field that is missing, or is no number where one
// is wanted, makes it bad.
type reader struct {
	list []any
	bad  bool
}

func (r *reader) next() any {
	if len(r.list) == 0 {
		r.bad = true
		return nil
	}
	v := r.list[0]
	r.list = r.list[1:]
	return v
}

func (r *reader) number() int64 {
	switch v := r.next().(type) {
	case int64:
		return v
	case string: // as in a message
		n, err := strconv.ParseInt(v, 10, 64)
		if err == nil {
			return n
		}
	}
	r.bad = true
	return 0
}

func (r *reader) text() string {
	v, ok := r.next().(string)
	r.bad = r.bad || !ok
	return v
}

// holds reads what a group was granted.
func (r *reader) holds(req *driver.Request, g *group, sent time.Time) []driver.Granted {
	holds := make([]driver.Granted, len(g.at))
	for i, at := range g.at {
		token, joined, left, offer := r.number(), r.number(), r.number(), r.number()
		r.bad = r.bad || token <= 0
		holds[i] = driver.Granted{
			Hold:   driver.Hold{Key: req.Keys[at], Owner: req.Owner, Generation: req.Generation, Token: driver.Token(max(token, 0))},
			Joined: joined == 1,
			Offer:  offer == 1,
			Until:  until(sent, left),
		}
	}
	return holds
}

// fields takes a message apart: each field is its length, a colon and its bytes.
func fields(message string) (list []any, ok bool) {
	for message != "" {
		length, rest, found := strings.Cut(message, ":")
		n, err := strconv.Atoi(length)
		if !found || err != nil || n < 0 || n > len(rest) {
			return nil, false
		}
		list = append(list, rest[:n])
		message = rest[n:]
	}
	return list, true
}
