package lockredis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// mode is how acquire.lua is asked.
type mode uint8

const (
	modeTry mode = iota
	modeWait
	modeTicket
)

// modes are the words for it.
var modes = [...]string{modeTry: "try", modeWait: "wait", modeTicket: "ticket"}

// ask is a request as acquire.lua is asked: for the keys of one group.
type ask struct {
	req   *driver.Request
	group *group
	id    string // the same for as long as it is the same request
	place int64  // in the queue, once it has had one
	room  *wait  // for its wait, where they were made in one piece
	mode  mode
	// unanswered says that it was sent without an answer: it may have been granted, and
	// it may yet come to the server. Its end has to be said, whatever it is.
	unanswered bool
}

// request is one call's ask for the keys of one group, with all it needs until it ends. It
// is made in one piece, since a lock that many want is asked for often.
type request struct {
	ask  ask
	req  driver.Request
	wait wait
	hold [1]driver.Granted // room for what it is granted
}

func newRequest(req *driver.Request, g *group, id string) *request {
	r := &request{req: *req}
	r.ask = ask{req: &r.req, group: g, id: id, room: &r.wait}
	r.wait.holds = r.hold[:0]
	return r
}

// answer is what acquire.lua says.
type answer struct {
	kind  answerKind
	holds []driver.Granted // of the group's keys, in its order
	// successors are the numbers of those that a grant names.
	successors reader
	busy       int           // the place in the group of the key that is busy
	holder     string        // who has that, where the request does not wait
	left       time.Duration // until the busy key lapses; negative: it does not
	place      int64
	alien      bool // the busy key's holder is another program
	more       bool // dead waiters are left: ask again
	circle     *driver.DeadlockError
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
func (p *Provider) put(ctx context.Context, a *ask, got *answer) error {
	sent := time.Now()
	sh := p.askShare(a, sent)
	if err := p.ask(ctx, p.lane(a), sh); err != nil {
		return err
	}
	err := p.readAnswer(a, sh, sent, got)
	sh.done()
	return err
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
	sh := newShare(acquireScript, a.group, 1)
	sh.args = append(sh.args, &a.req.Owner, &a.id, p.shape(a, now))
	for i := range a.req.Enclosing {
		sh.args = append(sh.args, &a.req.Enclosing[i])
	}
	return sh
}

// shape is what most requests have in common with many others: see acquire.lua. It is kept,
// since the next one often has the same.
func (p *Provider) shape(a *ask, now time.Time) *string {
	req := a.req
	class := int64(classOther)
	if req.Rank == driver.Compensation {
		class = classCompensation
	}
	var room [96]byte
	b := append(room[:0], modes[a.mode]...)
	for _, n := range [...]int64{millis(req.TTL), int64(len(a.group.at)), int64(len(req.Enclosing))} {
		b = strconv.AppendInt(append(b, ' '), n, 10)
	}
	b = strconv.AppendUint(append(b, ' '), req.Generation.Epoch, 10)
	b = strconv.AppendUint(append(b, ':'), req.Generation.Attempt, 10)
	b = strconv.AppendInt(append(b, ' '), class, 10)
	b = strconv.AppendUint(append(b, ' '), req.Born, 10)
	for _, n := range [...]int64{a.place, p.liveness(a, now)} {
		b = strconv.AppendInt(append(b, ' '), n, 10)
	}
	last := p.lastShape.Load()
	if last == nil || *last != string(b) {
		text := string(b)
		last = &text
		p.lastShape.Store(last)
	}
	return last
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
func (p *Provider) readAnswer(a *ask, sh *share, sent time.Time, got *answer) error {
	*got = answer{}
	reply := sh.answers[0]
	switch v := reply.(type) {
	case int64:
		err := p.readPlace(a, sh.said, sent, got)
		got.place = v
		return err
	case string:
		if isPlace(v) {
			return p.readPlace(a, v, sent, got)
		}
		return readToken(a, v, sent, got)
	}
	list, ok := reply.([]any)
	if !ok || len(list) == 0 {
		return badReply(acquireScript.name, reply)
	}
	r := reader{list: list[1:]}
	switch kind, _ := list[0].(int64); kind {
	case 1:
		got.kind, got.holds = answerGranted, r.holds(a.req, a.group, sent)
		got.successors = r.successors(got.holds)
	case 0, 2:
		got.kind = answerBusy
		if kind == 2 {
			got.kind, got.place = answerWaiting, r.number()
			p.toldOfLife(a, sent)
		}
		at := r.number()
		if at < 1 || at > int64(len(a.group.at)) {
			return badReply(acquireScript.name, reply)
		}
		got.busy, got.holder = int(at-1), r.text()
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
	if !r.whole() {
		return badReply(acquireScript.name, reply)
	}
	return nil
}

// toldOfLife sees to what the server has heard of this process's liveness by an ask.
func (p *Provider) toldOfLife(a *ask, sent time.Time) {
	if p.liveness(a, sent) > 0 && p.announced(a.group.hub, sent) {
		p.resync()
	}
}

// isPlace tells the text for a request that waits from a token.
func isPlace(text string) bool { return strings.HasPrefix(text, "w") }

// readPlace reads the answer to a request that waits for its one key, as most do: their
// answers are kept small.
func (p *Provider) readPlace(a *ask, text string, sent time.Time, got *answer) error {
	place, rest, _ := strings.Cut(strings.TrimPrefix(text, "w"), " ")
	left, alien, _ := strings.Cut(rest, " ")
	at, err := strconv.ParseInt(place, 10, 64)
	lapses, e := strconv.ParseInt(left, 10, 64)
	if err != nil || e != nil || alien != "0" && alien != "1" {
		return badReply(acquireScript.name, text)
	}
	p.toldOfLife(a, sent)
	got.kind, got.place, got.left, got.alien = answerWaiting, at, time.Duration(lapses)*time.Millisecond, alien == "1"
	return nil
}

// errEndedBefore is the answer to a request that came after its own end.
const errEndedBefore = scriptError("ENDED the request was given up before it came")

// readToken reads the answer to a request whose keys were all free.
func readToken(a *ask, text string, sent time.Time, got *answer) error {
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
	got.kind, got.holds = answerGranted, holds
	return nil
}

// readCircle reads the edges of a deadlock.
func (p *Provider) readCircle(r *reader) *driver.DeadlockError {
	e := &driver.DeadlockError{}
	for r.more() {
		e.Cycle = append(e.Cycle, driver.Wait{Owner: r.text(), Key: p.keys.key(r.text()), Holder: r.text()})
	}
	return e
}
