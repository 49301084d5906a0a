// Package wire counts what a Redis client sends, whichever client it is.
//
// INFO commandstats would not do: it counts the calls inside scripts as well, and
// a library that does its work in one script would look like one that sends five
// commands. So the commands are counted where they leave the process, in the
// bytes written to the connections, ticks and renewals included. Reading them
// costs each candidate the same: a few dozen nanoseconds a command.
package wire

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// Sent is what was sent: commands, and writes to a connection. A lone caller waits
// for an answer after each write, so its writes are its round trips.
type Sent struct{ Commands, Writes int64 }

// Sub returns what was sent since.
func (s Sent) Sub(before Sent) Sent {
	return Sent{Commands: s.Commands - before.Commands, Writes: s.Writes - before.Writes}
}

// Counter counts what goes through the connections it has dialled. The zero value
// is ready.
type Counter struct{ commands, writes atomic.Int64 }

// Sent returns what was sent so far.
func (c *Counter) Sent() Sent {
	return Sent{Commands: c.commands.Load(), Writes: c.writes.Load()}
}

// Dial opens a connection that is counted, as the clients dial by default.
func (c *Counter) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 5 * time.Second, KeepAlive: 5 * time.Minute}
	inner, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: inner, counter: c}, nil
}

// conn embeds the interface and not the TCP connection: that one's ReadFrom would
// let bytes pass uncounted.
type conn struct {
	net.Conn
	counter *Counter
	scan    scanner
}

func (c *conn) Write(p []byte) (int, error) {
	c.counter.commands.Add(c.scan.commands(p))
	c.counter.writes.Add(1)
	return c.Conn.Write(p)
}

// SyscallConn is what go-redis checks idle connections through. Without it the
// check would be left out, and that client measured without a part of its cost.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	s, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("wire: %T has no file descriptor", c.Conn)
	}
	return s.SyscallConn()
}

// scanner finds the beginnings of commands in RESP: *<arguments>, and then for each
// argument $<length> and its bytes. What it is in the middle of it keeps, since a
// write may end anywhere.
type scanner struct {
	kind byte
	n    int
	skip int // bytes of an argument and of its line end
}

func (s *scanner) commands(p []byte) (found int64) {
	for len(p) > 0 {
		if s.skip > 0 {
			n := min(s.skip, len(p))
			s.skip -= n
			p = p[n:]
			continue
		}
		switch b := p[0]; {
		case b == '*' || b == '$':
			s.kind, s.n = b, 0
		case '0' <= b && b <= '9':
			s.n = s.n*10 + int(b-'0')
		case b == '\n' && s.kind == '*':
			found++
		case b == '\n':
			s.skip = s.n + len("\r\n")
		}
		p = p[1:]
	}
	return found
}
