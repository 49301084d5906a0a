package redistest

import (
	"os/exec"
	"runtime"
)

// StartTied starts a process that does not outlive this one, however this one ends;
// elsewhere than on Linux it outlives a SIGKILL. The channel is closed when the process
// has ended and was waited for.
//
// The kernel ties a process to the thread that started it, not to the process. So
// that thread is kept for as long as the other process runs.
func StartTied(cmd *exec.Cmd) (ended <-chan struct{}, err error) {
	tie(cmd)
	started, died := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // it is killed: how it ended says nothing
		close(died)
	}()
	return died, <-started
}
