package redistest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// A goroutine that is locked to its thread takes the thread with it when it ends.
func TestAServerOutlivesTheThreadThatAskedForIt(t *testing.T) {
	s := Start(t)
	s.Kill()
	thread := make(chan int)
	var ask func()
	ask = func() {
		runtime.LockOSThread() // and no unlocking
		if syscall.Gettid() == os.Getpid() {
			go ask() // the main thread never ends
			<-t.Context().Done()
			return
		}
		if err := s.startOn(choosePort, ready); err != nil {
			t.Error(err)
		}
		thread <- syscall.Gettid()
	}
	go ask()
	entry := fmt.Sprintf("/proc/self/task/%d", <-thread)
	Eventually(t, 5*time.Second, func() string {
		if _, err := os.Stat(entry); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Sprintf("%s is there, %v", entry, err)
		}
		return ""
	})
	select {
	case <-s.died:
		t.Fatal("the server has ended with the thread")
	case <-time.After(200 * time.Millisecond): // whoever is killed has ended by now
	}
}
