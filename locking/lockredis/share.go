package lockredis

import "sync"

// share is what one caller asks of a script that answers several callers in one
// call: the names of its keys, its arguments, and how many of the answers are its
// own.
//
// The names and arguments are passed by their addresses, which go-redis follows: values
// would be copied. Nothing changes them afterwards.
type share struct {
	script *script
	hub    *hub
	names  []any // lock, queue, …
	args   []any
	count  int
	// successors is how many a grant may name.
	successors int
	// company is how many patient ones there are at least for them to go along.
	company int

	answers []any
	said    string // the last text for one that waits among the answers so far: see acquire.lua
	more    bool   // dead waiters are left
	err     error

	wake chan struct{} // gets something when it has been answered

	// most shares have no more names and arguments
	nameRoom [2]any
	argRoom  [3]any
}

var shares = sync.Pool{New: func() any { return new(share) }}

// newShare is what is asked of a script for the keys of a group, without arguments yet.
func newShare(s *script, g *group, count int) *share {
	sh, ok := shares.Get().(*share)
	if !ok {
		sh = new(share)
	}
	sh.script, sh.hub, sh.count = s, g.hub, count
	sh.names, sh.args = g.appendNames(sh.nameRoom[:0]), sh.argRoom[:0]
	return sh
}

// done gives the memory back. It is for the caller who has read the answers, and must not be
// called unless there are: what got none may still be under way, in a queue of the pipe, or
// in the hands of the one who sends it and who will signal its wake.
//
// Nobody else reads it then: who sends a share looks at it for the last time before he
// signals its wake, and that signal was taken. Commands have its names and arguments, never
// its rooms.
func (s *share) done() {
	*s = share{wake: s.wake}
	shares.Put(s)
}

// sleeps makes a share ready to be waited for.
func (s *share) sleeps() {
	if s.wake == nil {
		s.wake = make(chan struct{}, 1)
	}
}

// signals are channels with room for one, in which nothing is.
var signals = sync.Pool{New: func() any { return make(chan struct{}, 1) }}

func getSignal() chan struct{} {
	c, ok := signals.Get().(chan struct{})
	if !ok {
		c = make(chan struct{}, 1)
	}
	return c
}

// putSignal takes a channel back that nobody will send to any more: see waits.answer, which
// sends once at most, and only to a wait that has not been dropped.
func putSignal(c chan struct{}) {
	select {
	case <-c:
	default:
	}
	signals.Put(c)
}

// answers are those that nobody reads any more. An answer on the stack of somebody who
// waits would make that stack longer for as long as the wait lasts.
var answers = sync.Pool{New: func() any { return new(answer) }}

func getAnswer() *answer {
	got, ok := answers.Get().(*answer)
	if !ok {
		got = new(answer)
	}
	return got
}

// putAnswer takes an answer back. Whoever was told of it has copied what is to last.
func putAnswer(got *answer) {
	*got = answer{}
	answers.Put(got)
}
