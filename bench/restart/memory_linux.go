package restart

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Memory is what the system says that a process has resident, in MiB: now (VmRSS), and
// at most so far (VmHWM). Files that are mapped are part of it.
type Memory struct {
	Now  float64 `json:"now"`
	Most float64 `json:"most"`
}

// processorTime is what the process has had of the processors.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func resident() (m Memory, err error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return m, err
	}
	defer func() { _ = f.Close() }() // it was only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		into := map[string]*float64{"VmRSS": &m.Now, "VmHWM": &m.Most}[name]
		if into == nil {
			continue
		}
		kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
		if err != nil {
			return m, fmt.Errorf("/proc/self/status: %w", err)
		}
		*into = kib / 1024
	}
	if m.Most == 0 {
		return m, errors.New("/proc/self/status has no VmHWM")
	}
	return m, nil
}
