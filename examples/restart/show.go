package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// show has one process killed in the midst of a step, and the next one finish the order.
func show(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "restart")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "orders.db")

	killed, err := play(ctx, out, "first", file, "send")
	if err != nil {
		return err
	}
	if !killed {
		return errors.New("the first process has come to its end before it was killed")
	}
	fmt.Fprintln(out, "kill -9: the first process is dead, in the midst of a step")
	if _, err := play(ctx, out, "second", file, ""); err != nil {
		return err
	}
	fmt.Fprintln(out, "what was recorded was not done again; what was under way was begun once more, with its key")
	return nil
}

// play starts a process, and tells what it says. It kills the process when the step killAt
// has begun.
func play(ctx context.Context, out io.Writer, name, file, killAt string) (killed bool, err error) {
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	cmd := exec.CommandContext(ctx, self, "-file", file, "-slow", killAt)
	cmd.Stderr = os.Stderr
	said, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	fmt.Fprintf(out, "the %s process starts, with the id %d\n", name, cmd.Process.Pid)
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		fmt.Fprintf(out, "  %s: %s\n", name, lines.Text())
		if killAt != "" && strings.HasPrefix(lines.Text(), killAt+" begins") {
			killed = true
			_ = cmd.Process.Kill() // SIGKILL: it can do nothing about it
		}
	}
	if err := cmd.Wait(); err != nil && !killed {
		return false, fmt.Errorf("the %s process: %w", name, err)
	}
	return killed, lines.Err()
}
