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
	// unanswered says that it was sent without an answer: it may have been granted, and
	// it may yet come to the server. Its end has to be said, whatever it is.
	unanswered bool
	got        answer // what was said last
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
func (p *Provider) put(ctx context.Context, a *ask) error {
	sent := time.Now()
	sh := p.askShare(a, sent)
	if err := p.ask(ctx, p.lane(a), sh); err != nil {
		return err
	}
	return p.readAnswer(a, sh.answers[0], sent)
}

// crowd is how many wait here for a lock when its next release is soon to be sent.
const crowd = 8

// lane says how urgent an ask is. One for a lock that a crowd waits for will wait, too;
// but where its owner holds other locks, a deadlock is to be found at once.
func (p *Provider) lane(a *ask) lane {
	if a.mode != modeWait || a.unanswered || len(a.group.places) > 1 || listed(a.req.Owner) || len(a.req.Enclosing) > 0 ||
		p.waits.queued.Load() == 0 || !p.waits.busy(a.req.Keys[0], a.group.places[0].lock) {
		return shared
	}
	return along
}

// askShare is the ask as acquire.lua takes it.
func (p *Provider) askShare(a *ask, now time.Time) *share {
	args := make([]string, 3, 3+len(a.req.Enclosing))
	args[0], args[1], args[2] = a.req.Owner, a.id, p.shape(a, now)
	return &share{
		script: acquireScript, hub: a.group.hub, names: a.group.names(), count: 1,
		args: append(args, a.req.Enclosing...),
	}
}

// shape is what most requests have in common with many others: see acquire.lua.
func (p *Provider) shape(a *ask, now time.Time) string {
	req := a.req
	class := int64(classOther)
	if req.Rank == driver.Compensation {
		class = classCompensation
	}
	b := make([]byte, 0, 64)
	b = append(b, a.mode...)
	for _, n := range []int64{millis(req.TTL), int64(len(a.group.at)), int64(len(req.Enclosing))} {
		b = strconv.AppendInt(append(b, ' '), n, 10)
	}
	b = strconv.AppendUint(append(b, ' '), req.Generation.Epoch, 10)
	b = strconv.AppendUint(append(b, ':'), req.Generation.Attempt, 10)
	b = strconv.AppendInt(append(b, ' '), class, 10)
	b = strconv.AppendUint(append(b, ' '), req.Born, 10)
	for _, n := range []int64{a.place, p.liveness(a, now)} {
		b = strconv.AppendInt(append(b, ' '), n, 10)
	}
	return string(b)
}

// liveness is what a request has to say of this process's liveness: nothing when
// the server was told a moment ago, or when the request does not wait.
func (p *Provider) liveness(a *ask, now time.Time) int64 {
	if a.mode == modeTry || now.Sub(p.born)-time.Duration(a.group.hub.announced.Load()) < tickInterval {
		return 0
	}
	return livenessTime.Milliseconds()
}

// announced notes that the server was told of this process's liveness. It answers
// whether the liveness may have lapsed before, while requests of the process waited:
// they may have been taken for dead.
func (p *Provider) announced(h *hub, sent time.Time) (lapsed bool) {
	at := int64(sent.Sub(p.born))
	before := h.announced.Swap(at)
	return before != 0 && time.Duration(at-before) > livenessTime/2 && p.waits.queued.Load() > 0
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
func (p *Provider) readAnswer(a *ask, reply any, sent time.Time) error {
	a.got = answer{}
	if token, ok := reply.(string); ok {
		return p.readToken(a, token, sent)
	}
	list, ok := reply.([]any)
	if !ok || len(list) == 0 {
		return badReply(acquireScript.name, reply)
	}
	r := reader{list: list[1:]}
	got := &a.got
	switch kind, _ := list[0].(int64); kind {
	case 1:
		got.kind, got.holds = answerGranted, r.holds(a.req, a.group, sent)
	case 0, 2:
		if kind == 2 {
			got.kind, got.place = answerWaiting, r.number()
			if p.liveness(a, sent) > 0 && p.announced(a.group.hub, sent) {
				p.resync()
			}
		} else {
			got.kind = answerBusy
		}
		at := r.number()
		if at < 1 || at > int64(len(a.group.at)) {
			return badReply(acquireScript.name, reply)
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
	case -4:
		return errEndedBefore
	case -3:
		if text := r.text(); !r.bad {
			return scriptError(text)
		}
	default:
		r.bad = true
	}
	if r.bad || len(r.list) > 0 {
		return badReply(acquireScript.name, reply)
	}
	return nil
}

// errEndedBefore is the answer to a request that came after its own end.
const errEndedBefore = scriptError("ENDED the request was given up before it came")

// readToken reads the answer to a request whose keys were all free.
func (p *Provider) readToken(a *ask, text string, sent time.Time) error {
	token, err := strconv.ParseUint(text, 10, 64)
	if err != nil || token == 0 {
		return badReply(acquireScript.name, text)
	}
	left := int64(-1)
	if a.req.TTL > 0 {
		left = millis(a.req.TTL)
	}
	holds := make([]driver.Granted, len(a.group.at))
	for i, at := range a.group.at {
		holds[i] = driver.Granted{
			Hold:  driver.Hold{Key: a.req.Keys[at], Owner: a.req.Owner, Generation: a.req.Generation, Token: driver.Token(token)},
			Until: until(sent, left),
		}
	}
	a.got.kind, a.got.holds = answerGranted, holds
	return nil
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
	// unsure says that a successor may hold by now what was said of: see succession.
	unsure bool
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
	list = make([]any, 0, 8) // a grant of one key
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
