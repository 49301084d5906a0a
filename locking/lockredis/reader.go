package lockredis

import (
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// reader takes apart what a script says: a list as the client has read it, or a message,
// each of whose fields is its length, a colon and its bytes. A field that is missing, or is
// no number where one is wanted, makes it bad. A copy reads on by itself.
type reader struct {
	list    []any
	message string // what is left of it
	bad     bool
	// unsure says that a successor may hold by now what was said of: see succession.
	unsure bool
}

// more says whether there is another field, of one that is not bad.
func (r *reader) more() bool { return !r.bad && (len(r.list) > 0 || r.message != "") }

// whole says that everything has been read, and nothing was bad.
func (r *reader) whole() bool { return !r.bad && len(r.list) == 0 && r.message == "" }

// field is the next field of a message.
func (r *reader) field() string {
	length, rest, found := strings.Cut(r.message, ":")
	n, err := strconv.Atoi(length)
	if !found || err != nil || n < 0 || n > len(rest) {
		r.bad, r.message = true, ""
		return ""
	}
	r.message = rest[n:]
	return rest[:n]
}

// next is the next of a list.
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
	if r.message != "" {
		return r.parsed(r.field())
	}
	switch v := r.next().(type) {
	case int64:
		return v
	case string:
		return r.parsed(v)
	}
	r.bad = true
	return 0
}

func (r *reader) parsed(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	r.bad = r.bad || err != nil
	return n
}

func (r *reader) text() string {
	if r.message != "" {
		return r.field()
	}
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

// successors reads the numbers of the requests that a grant of one key names, which are
// all that is left.
func (r *reader) successors(holds []driver.Granted) (numbers reader) {
	if len(holds) != 1 {
		return reader{}
	}
	numbers = *r
	for r.more() {
		r.text()
	}
	return numbers
}
