package redistest

import (
	"os/exec"
	"syscall"
)

// tie has the kernel kill the process when the thread that starts it ends.
func tie(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}
