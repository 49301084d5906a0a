package storesqlite

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/lockstep-dev/lockstep/store"
)

// small mounts a file system in memory, which is full soon.
func small(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("small", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestAFullDiskIsToldLosesNothingAndIsGotOver(t *testing.T) {
	t.Parallel()
	path := filepath.Join(small(t, "size=2m"), "executions.db")
	ballast := path + ".ballast"
	if err := os.WriteFile(ballast, make([]byte, 400<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	s := opened(t, path, Config{})
	var list []*store.Snapshot
	for i := range 4 {
		list = append(list, created(t, s, fmt.Sprint(i)))
	}
	var failed error
	for n := 0; failed == nil; n++ {
		if n == 1000 {
			t.Fatal("the disk is not full")
		}
		x := list[n%len(list)]
		if failed = commitOne(s, write(x, make([]byte, 20_000))); failed == nil {
			x.Revision++
		}
	}
	wantIs(t, "a write to a full disk", failed, ErrFull)
	for _, x := range list {
		got := loadOne(t, s, x.Key)
		if got.Revision != x.Revision || uint64(len(got.Cells)) != x.Revision-1 {
			t.Errorf("%s: revision %d with %d cells, want %d", x.ID, got.Revision, len(got.Cells), x.Revision)
		}
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		put(t, s, x)
	}
	closed(t, s)
	s = reopened(t, path)
	for _, x := range list {
		if got := loadOne(t, s, x.Key); got.Revision != x.Revision || uint64(len(got.Cells)) != x.Revision-1 {
			t.Errorf("%s, opened again: revision %d with %d cells, want %d", x.ID, got.Revision, len(got.Cells), x.Revision)
		}
	}
}

func TestANewFileOnAFullDiskIsNotMadeByHalf(t *testing.T) {
	t.Parallel()
	path := filepath.Join(small(t, "size=64k"), "executions.db")
	if err := os.WriteFile(path+".ballast", make([]byte, 48<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	wantIs(t, "a new file on a full disk", refused(t, path), ErrFull)
	if err := os.Remove(path + ".ballast"); err != nil {
		t.Fatal(err)
	}
	_, err := Open(path, Config{}) // 64 KiB are too few all the same
	wantIs(t, "again", err, ErrFull)
}

// asNobody runs a function with the rights of a user that owns nothing.
func asNobody(t *testing.T, do func()) {
	t.Helper()
	if os.Getuid() == 0 {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := syscall.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := syscall.Setfsuid(0); err != nil {
				panic(err) // the thread must not be used again
			}
		}()
	}
	do()
}

func TestAFileOrAFolderThatMustNotBeWrittenToIsReadOnly(t *testing.T) {
	t.Parallel()
	for what, modes := range map[string][2]os.FileMode{"a file": {0o777, 0o444}, "a folder": {0o555, 0o666}, "both": {0o555, 0o444}} {
		path := newPath(t)
		closed(t, opened(t, path, Config{}))
		if err := errors.Join(os.Remove(path+".lock"), os.Chmod(path, modes[1]), os.Chmod(filepath.Dir(path), modes[0])); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(filepath.Dir(path), 0o700) })
		if err := os.Chmod(filepath.Dir(filepath.Dir(path)), 0o755); err != nil {
			t.Fatal(err)
		}
		asNobody(t, func() {
			_, err := Open(path, Config{})
			wantIs(t, what, err, ErrReadOnly)
		})
	}
	t.Run("nothing there", func(t *testing.T) {
		path := newPath(t)
		if err := errors.Join(os.Chmod(filepath.Dir(path), 0o555), os.Chmod(filepath.Dir(filepath.Dir(path)), 0o755)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(filepath.Dir(path), 0o700) })
		asNobody(t, func() {
			_, err := Open(path, Config{})
			wantIs(t, "a folder", err, ErrReadOnly)
		})
	})
}

func TestAFileSystemThatIsReadOnlyIsReadOnly(t *testing.T) {
	t.Parallel()
	dir := small(t, "size=4m")
	path := filepath.Join(dir, "executions.db")
	closed(t, opened(t, path, Config{}))
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("no file system can be mounted anew here: %v", err)
	}
	_, err := Open(path, Config{})
	wantIs(t, "a file on it", err, ErrReadOnly)
}

var _ = isChild("limited", writeToALimit)

// writeToALimit writes while the system lets no file grow, and goes on when it does. It
// prints what it was answered.
func writeToALimit(path string) error {
	signal.Ignore(syscall.SIGXFSZ) // a write past the limit is an error then, and not the end
	s, err := Open(path, Config{})
	if err != nil {
		return err
	}
	if err := s.Heartbeat(background, me, forLong); err != nil {
		return err
	}
	var list []*store.Snapshot
	for i := range 4 {
		x := fresh(fmt.Sprint(i))
		if _, err := s.Create(background, x); err != nil {
			return err
		}
		list = append(list, x)
	}
	log, err := os.Stat(path + "-wal")
	if err != nil {
		return err
	}
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		return err
	}
	limited := before
	limited.Cur = uint64(log.Size()) + 3*pageSize
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limited); err != nil {
		return err
	}
	errs := make([]error, len(list))
	for errors.Join(errs...) == nil {
		var wg sync.WaitGroup
		for i, x := range list {
			wg.Go(func() {
				if errs[i] = commitOne(s, write(x, make([]byte, 3000))); errs[i] == nil {
					x.Revision++
				}
			})
		}
		wg.Wait()
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		return err
	}
	for i, x := range list {
		if errs[i] == nil {
			continue
		}
		if !errors.Is(errs[i], ErrOutcomeUnknown) {
			return fmt.Errorf("a write past the limit: %w", errs[i])
		}
		fmt.Println("unknown", x.ID)
		if err := commitOne(s, write(x, make([]byte, 3000))); err != nil {
			return fmt.Errorf("again, without the limit: %w", err)
		}
		x.Revision++
	}
	for _, x := range list {
		got, err := s.Load(background, x.Key)
		if err != nil || got.Revision != x.Revision || uint64(len(got.Cells)) != x.Revision-1 {
			return fmt.Errorf("%s: %+v, %w; want revision %d", x.ID, got, err, x.Revision)
		}
		fmt.Println("stands", x.ID, x.Revision)
	}
	return errors.Join(s.Check(background), s.Close(background))
}

func TestAWriteThatTheSystemRefusesHasAnUnknownOutcomeAndMayBeRepeated(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	cmd, out := child(t, "limited", path)
	stands := map[string]uint64{}
	unknown := 0
	var said []string
	for out.Scan() {
		said = append(said, out.Text())
		var what, id string
		var revision uint64
		if _, _ = fmt.Sscan(out.Text(), &what, &id, &revision); what == "stands" {
			stands[id] = revision
		} else if what == "unknown" {
			unknown++
		}
	}
	if err := cmd.Wait(); err != nil || len(stands) != 4 || unknown == 0 {
		t.Fatalf("%v; the child has said %q", err, said)
	}
	s := reopened(t, path)
	for id, revision := range stands {
		if got := loadOne(t, s, fresh(id).Key); got.Revision != revision {
			t.Errorf("%s: revision %d, want %d", id, got.Revision, revision)
		}
	}
}
