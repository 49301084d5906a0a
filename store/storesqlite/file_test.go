package storesqlite

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// refused opens a file that must be refused, and expects it, and its folder, to be left as
// they were.
func refused(t *testing.T, path string) error {
	t.Helper()
	before := folder(t, path)
	s, err := Open(path, Config{})
	if err == nil {
		closed(t, s)
		t.Fatal("it was opened")
	}
	if after := folder(t, path); after != before {
		t.Errorf("the folder was %s, and is %s", before, after)
	}
	return err
}

// folder has the names and contents of what is in the folder of a file.
func folder(t *testing.T, path string) string {
	t.Helper()
	var text strings.Builder
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(filepath.Dir(path), e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s %d %x; ", e.Name(), len(content), sum(content))
	}
	return text.String()
}

func sum(b []byte) (n uint64) {
	for _, c := range b {
		n = n*1099511628211 + uint64(c)
	}
	return n
}

// other is a SQLite file that is made by statements.
func other(t *testing.T, statements ...string) string {
	t.Helper()
	path := newPath(t)
	c, err := connect(path, "", statements...)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// crashed is a SQLite file that was not closed: a part of it is in its log.
func crashed(t *testing.T, statements ...string) string {
	t.Helper()
	path := newPath(t)
	from := newPath(t)
	c, err := connect(from, "", statements...)
	if err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		content, err := os.ReadFile(from + suffix)
		if err == nil {
			err = os.WriteFile(path+suffix, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAFileThatIsNoDatabaseIsRefusedAndLeftAsItIs(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"x", "hello", strings.Repeat("no database at all ", 1000)} {
		path := newPath(t)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := refused(t, path)
		if e, ok := errors.AsType[*ForeignError](err); !ok || e.Path != path || !errors.Is(err, ErrForeign) {
			t.Errorf("%q...: %v, want a ForeignError for it", text[:1], err)
		}
	}
}

func TestADatabaseOfOthersIsRefusedAndLeftAsItIs(t *testing.T) {
	t.Parallel()
	for what, path := range map[string]string{
		"without an application id": other(t, "user_version = 1; CREATE TABLE executions (seq)"),
		"of another application":    other(t, "application_id = 77; CREATE TABLE theirs (x)"),
		"after a crash":             crashed(t, "application_id = 77; PRAGMA journal_mode = WAL; CREATE TABLE theirs (x)"),
		"with a log":                other(t, "application_id = 77; PRAGMA journal_mode = WAL; CREATE TABLE theirs (x)"),
	} {
		wantIs(t, what, refused(t, path), ErrForeign)
	}
}

func TestAFileOfOursWithTablesOfOthersIsRefused(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	closed(t, opened(t, path, Config{}))
	c, err := connect(path, "", "user_version; CREATE TABLE theirs (x)")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	_, err = Open(path, Config{})
	wantIs(t, "with a table more", err, ErrForeign)
	if !strings.Contains(err.Error(), `"theirs"`) {
		t.Errorf("%v does not name the table", err)
	}
}

func TestAFileOfALaterVersionIsRefusedWithBothVersionsAndLeftAsItIs(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	closed(t, opened(t, path, Config{}))
	c, err := connect(path, "", fmt.Sprint("user_version = ", len(migrations)+4))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	err = refused(t, path)
	if e, ok := errors.AsType[*NewerError](err); !ok || e.Found != len(migrations)+4 || e.Known != len(migrations) || !errors.Is(err, ErrNewer) {
		t.Errorf("%v, want a NewerError with both versions", err)
	}
	_, err = OpenReadOnly(path, Config{})
	wantIs(t, "for reading", err, ErrNewer)
}

func TestAnOlderFileIsBroughtUpToDateOrLeftAsItIs(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := opened(t, path, Config{})
	created(t, s, "x")
	closed(t, s)
	c, err := connect(path, "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	broken := slices.Concat(migrations, []string{"CREATE TABLE more (x); INSERT INTO nothing VALUES (1)"})
	if err := c.migrate(broken, len(migrations)); err == nil {
		t.Error("a step that fails is no error")
	}
	if v, _ := c.number("PRAGMA user_version"); v != int64(len(migrations)) {
		t.Errorf("after a step that failed the version is %d", v)
	}
	if n, _ := c.number("SELECT count(*) FROM sqlite_schema WHERE name = 'more'"); n != 0 {
		t.Error("a step that failed has left something")
	}
	good := slices.Concat(migrations, []string{"CREATE TABLE more (x)"})
	if err := c.migrate(good, len(migrations)); err != nil {
		t.Fatal(err)
	}
	if v, _ := c.number("PRAGMA user_version"); v != int64(len(good)) {
		t.Errorf("after a step the version is %d, want %d", v, len(good))
	}
	if n, _ := c.number("SELECT count(*) FROM executions"); n != 1 {
		t.Errorf("after a step there are %d executions, want 1", n)
	}
}

func TestAFileOfTheFirstVersionIsGoneOnWith(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	c, err := connect(path, "", "page_size = "+strconv.Itoa(pageSize), "application_id = "+strconv.Itoa(applicationID))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.migrate(migrations[:1], 0); err != nil {
		t.Fatal(err)
	}
	if err := c.script(fmt.Sprintf(`INSERT INTO workflows VALUES (1, '%s'); INSERT INTO plans VALUES (1, 1, '%s');
		INSERT INTO executions (seq, name, workflow, plan, run, codec, generated, created, epoch, revision, state, unsettled, frames, released, takes, unclean, ready)
		VALUES (1, 'x', 1, 1, 'r', 'c', 0, x'000000000000000000000000', 3, 4, 'invoking', 0, 0, 1, 0, 0, x'000000000000000000000000');
		INSERT INTO tasks VALUES (1, 't', 'q', 0, NULL, x'00', 0, -1, 1, 0, NULL, NULL, 0)`,
		thePlan.Workflow, thePlan.Fingerprint)); err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	s := opened(t, path, Config{})
	if err := s.Heartbeat(t.Context(), me, time.Hour); err != nil {
		t.Fatal(err)
	}
	list, err := s.Claim(t.Context(), store.Claim{Instance: me, ID: 1, Plans: []store.PlanID{thePlan}})
	if err != nil || len(list) != 1 || list[0].Epoch != 4 || list[0].Holding {
		t.Fatal(list, err)
	}
	tasks, _, err := s.Take(t.Context(), store.Take{Instance: me, ID: 1, Queue: "q", Plans: []store.PlanID{thePlan}})
	if err != nil || len(tasks) != 1 || tasks[0].ID != "t" {
		t.Fatal(tasks, err)
	}
	w := store.Write{Key: list[0].Key, Fence: list[0].Fence, ID: 1, Head: store.Head{State: store.Invoking, Holding: true}}
	if err := s.Commit(t.Context(), []store.Write{w})[0]; err != nil {
		t.Fatal(err)
	}
	closed(t, s)
	s = opened(t, path, Config{})
	if x, err := s.Load(t.Context(), w.Key); err != nil || !x.Holding {
		t.Error(x, err)
	}
}

func TestATruncatedFileIsDamaged(t *testing.T) {
	t.Parallel()
	for _, left := range []int64{50, 5000, 3 * pageSize} {
		path := newPath(t)
		s := opened(t, path, Config{})
		for i := range 50 {
			created(t, s, fmt.Sprint(i))
		}
		closed(t, s)
		if err := os.Truncate(path, left); err != nil {
			t.Fatal(err)
		}
		for range 2 { // and the first failure has left nothing half open
			_, err := Open(path, Config{})
			wantIs(t, fmt.Sprint("with ", left, " bytes left"), err, ErrDamaged)
		}
		_, err := OpenReadOnly(path, Config{})
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForeign) {
			t.Errorf("for reading, with %d bytes left: %v", left, err)
		}
	}
}

func TestDamageIsFoundByWhoReadsItAndByCheck(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := opened(t, path, Config{})
	for i := range 300 {
		created(t, s, fmt.Sprint(i))
	}
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("before: %v", err)
	}
	closed(t, s)
	root := rootOf(t, path, "executions")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{0x5a}, pageSize), (root-1)*pageSize); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = Open(path, Config{})
	if err != nil { // it may be seen at once
		wantIs(t, "opened with a page of rubbish", err, ErrDamaged)
		return
	}
	t.Cleanup(func() { _ = s.Close(background) })
	_, err = s.Load(t.Context(), fresh("7").Key)
	wantIs(t, "what is loaded from a page of rubbish", err, ErrDamaged)
	wantIs(t, "a write to a page of rubbish", commitOne(s, write(fresh("7"), nil)), ErrDamaged)
	wantIs(t, "a check", s.Check(t.Context()), ErrDamaged)
}

// rootOf is the first page of a table.
func rootOf(t *testing.T, path, table string) int64 {
	t.Helper()
	c, err := connect(path, "mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	n, err := c.number("SELECT rootpage FROM sqlite_schema WHERE name = '" + table + "'")
	if err != nil || n < 2 {
		t.Fatal(n, err)
	}
	return n
}

func TestASecondOpenIsRefusedAndNamesWhoHasTheFile(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := opened(t, path, Config{})
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	link := newPath(t)
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, link} {
		_, err = Open(p, Config{})
		if e, ok := errors.AsType[*LockedError](err); !ok || e.PID != os.Getpid() || e.Host != host || !errors.Is(err, ErrLocked) {
			t.Errorf("%s: %v, want a LockedError with process %d on %s", p, err, os.Getpid(), host)
		}
	}
	put(t, s, created(t, s, "x"))
	closed(t, s)
	closed(t, opened(t, path, Config{}))
}

func TestWhileAnotherProgramWritesCallsAreToldSoAndGoOnAfterIt(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{})
	x := created(t, s, "x")
	within(t, s, func(w *writer) error { return w.conn.script("PRAGMA busy_timeout = 20") })
	c, err := connect(s.path, "", "user_version; BEGIN IMMEDIATE")
	if err != nil {
		t.Fatal(err)
	}
	err = commitOne(s, write(x, nil))
	wantIs(t, "a write", err, ErrLocked)
	if errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("%v, although nothing was begun", err)
	}
	if got := loadOne(t, s, x.Key); got.Revision != 1 {
		t.Errorf("the revision is %d", got.Revision)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	put(t, s, x)
}

func TestAStoreThatIsClosedIsOneFileBesideItsLock(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := opened(t, path, Config{})
	put(t, s, created(t, s, "x"))
	closed(t, s)
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 2 || entries[0].Name() != filepath.Base(path) || entries[1].Name() != filepath.Base(path)+".lock" {
		t.Errorf("there are %v, %v", entries, err)
	}
}

func TestAFolderThatIsNotThereIsAnError(t *testing.T) {
	t.Parallel()
	_, err := Open(filepath.Join(t.TempDir(), "missing", "executions.db"), Config{})
	if e, ok := errors.AsType[*FileError](err); !ok || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v (%v), want a FileError", err, e)
	}
}

func TestWhatIsLeftOfAFileThatWasNotFinishedIsNoObstacle(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	for _, suffix := range []string{"", ".new", ".new-journal"} { // nothing stands at its own name yet
		text := "rubbish"
		if suffix == "" {
			text = ""
		}
		if err := os.WriteFile(path+suffix, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := opened(t, path, Config{})
	created(t, s, "x")
	if _, err := os.Stat(path + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is something beside it: %v", err)
	}
}

func TestANewFileThatCannotBeMadeLeavesNothing(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	if err := os.MkdirAll(filepath.Join(path+".new", "full"), 0o700); err != nil { // it cannot be removed
		t.Fatal(err)
	}
	if s, err := Open(path, Config{}); err == nil {
		closed(t, s)
		t.Fatal("it was opened")
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a file: %v", err)
	}
	if _, err := os.Stat(path + ".lock"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a lock: %v", err)
	}
}

func TestABackupIsAStoreOfThatMoment(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{})
	x := created(t, s, "x")
	put(t, s, x)
	path := newPath(t)
	if err := s.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	put(t, s, x)
	if err := s.Backup(t.Context(), path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a backup over a file: %v", err)
	}
	b := reopened(t, path)
	if got := loadOne(t, b, x.Key); got.Revision != 2 || len(got.Cells) != 1 {
		t.Errorf("it has revision %d with %d cells, want 2 with 1", got.Revision, len(got.Cells))
	}
	if b.Describe() != s.Describe() {
		t.Errorf("it is %v, of %v", b.Describe(), s.Describe())
	}
}

// reopened opens a file in which me may have a lease.
func reopened(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path, Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(background) })
	return s
}

func TestReadOnlyBesideTheOneThatHasItSeesWhatIsCommitted(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{})
	x := created(t, s, "x")
	r, err := OpenReadOnly(s.path, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, r)
	put(t, s, x)
	if got := loadOne(t, r, x.Key); got.Revision != 2 || r.Describe() != s.Describe() {
		t.Errorf("it sees revision %d of %v, want 2 of %v", got.Revision, r.Describe(), s.Describe())
	}
	if page, err := r.List(t.Context(), store.Query{}); err != nil || len(page.Executions) != 1 {
		t.Error(page, err)
	}
	_, createErr := r.Create(t.Context(), fresh("y"))
	_, claimErr := r.Claim(t.Context(), store.Claim{Instance: me})
	for what, err := range map[string]error{
		"create": createErr, "claim": claimErr, "commit": commitOne(r, write(x, nil)), "heartbeat": r.Heartbeat(t.Context(), me, forLong),
		"end": r.End(t.Context(), me), "deliver": r.Deliver(t.Context(), x.Key, store.Message{ID: "m"}),
		"forget": r.Forget(t.Context(), x.Key, x.RunUID), "watch": r.Watch(t.Context(), me, func(store.Notice) {}),
	} {
		wantIs(t, what, err, ErrReadOnly)
	}
	put(t, s, x) // which goes on
}

func TestReadOnlyOfNothingIsAnError(t *testing.T) {
	t.Parallel()
	_, err := OpenReadOnly(newPath(t), Config{})
	wantIs(t, "a file that is not there", err, fs.ErrNotExist)
}
