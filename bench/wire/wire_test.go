package wire

import (
	"context"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Three commands; the arguments hold what looks like the beginning of others.
const three = "*1\r\n$4\r\nPING\r\n" +
	"*3\r\n$3\r\nSET\r\n$5\r\n*1\r\n$\r\n$0\r\n\r\n" +
	"*2\r\n$7\r\nEVALSHA\r\n$12\r\n*2\r\n$3\r\nabcd\r\n"

func TestCommandsAreCountedWhereverAWriteEnds(t *testing.T) {
	for size := 1; size <= len(three); size++ {
		var s scanner
		var got int64
		for rest := three; rest != ""; {
			n := min(size, len(rest))
			got += s.commands([]byte(rest[:n]))
			rest = rest[n:]
		}
		if got != 3 {
			t.Errorf("in writes of %d bytes: %d commands, want 3", size, got)
		}
	}
}

func TestAConnectionCountsItsCommandsAndWrites(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- err.Error()
			return
		}
		defer c.Close()
		text, _ := io.ReadAll(c)
		got <- string(text)
	}()
	var counter Counter
	before := counter.Sent()
	c, err := counter.Dial(context.Background(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{three, three[:20], three[20:]} {
		if _, err := io.Copy(c, strings.NewReader(part)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.(syscall.Conn).SyscallConn(); err != nil {
		t.Error(err)
	}
	c.Close()
	if text := <-got; text != three+three {
		t.Errorf("what arrived is %q", text)
	}
	if sent := counter.Sent().Sub(before); sent != (Sent{Commands: 6, Writes: 3}) {
		t.Errorf("got %+v, want 6 commands in 3 writes", sent)
	}
}
