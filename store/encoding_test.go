package store_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// recordType is one kind of record, with its encoding.
type recordType struct {
	name string
	// full has something in every field, also of what is within it.
	full any
	// encode takes a pointer to the record, decode returns the record.
	encode func(rec any, b []byte) []byte
	decode func(data []byte) (any, error)
}

func recordTypes() []recordType {
	return []recordType{
		{
			"frame", fullFrame(),
			func(rec any, b []byte) []byte { return rec.(*store.Frame).Encode(b) },
			func(data []byte) (any, error) { return store.DecodeFrame(data) },
		},
		{
			"node", fullNode(),
			func(rec any, b []byte) []byte { return rec.(*store.Node).Encode(b) },
			func(data []byte) (any, error) { return store.DecodeNode(data) },
		},
		{
			"failure", fullFailure(),
			func(rec any, b []byte) []byte { return rec.(*store.Failure).Encode(b) },
			func(data []byte) (any, error) { return store.DecodeFailure(data) },
		},
		{
			"errand", fullErrand(),
			func(rec any, b []byte) []byte { return rec.(*store.Errand).Encode(b) },
			func(data []byte) (any, error) { return store.DecodeErrand(data) },
		},
		{
			"event", fullEvent(),
			func(rec any, b []byte) []byte { return rec.(*store.Event).Encode(b) },
			func(data []byte) (any, error) { return store.DecodeEvent(data) },
		},
		{
			"order", fullOrder(),
			func(rec any, b []byte) []byte { return rec.(*store.Order).Encode(b) },
			func(data []byte) (any, error) { return store.DecodeOrder(data) },
		},
	}
}

var anyBytes = "\x00a\xff\xc3\x28\n\ufffd"

func fullPlace() store.Place { return store.Place{Frame: store.MaxFrames, Node: 1<<31 - 1} }

func fullHold() store.Hold {
	return store.Hold{Provider: "lp_x", Key: anyBytes, Owner: "lockstep:a:b:c", Epoch: 1<<64 - 1, Attempt: 7, Token: 1 << 63}
}

func fullFrame() store.Frame {
	return store.Frame{
		Sequence: 3, Parent: fullPlace(), Branch: 1<<31 - 1, State: store.FrameUndone,
		Item: []byte(anyBytes), Holds: []store.Hold{fullHold(), {}, {Key: "k"}},
	}
}

func fullProgress() store.Progress {
	return store.Progress{
		State: store.StepTimeout, Attempts: 4, FirstAt: time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC),
		Waits: store.WaitingForTurn, DueAt: time.Date(2031, 1, 1, 0, 0, 0, 1, time.UTC), Deaths: 2, Suspect: true,
	}
}

func fullNode() store.Node {
	return store.Node{
		Invoke: fullProgress(), Compensate: fullProgress(), Attempts: 1 << 40, Unknown: true,
		Output: []byte(anyBytes), Undo: []byte("undo"), First: 1 << 31, Count: 12,
		Keys: []string{"b", "", anyBytes, "a"}, Ticket: "t", Holds: []store.Hold{fullHold()}, Child: "child", Heard: 12,
	}
}

func fullFailure() store.Failure {
	return store.Failure{
		Path: "a/b", Phase: "invoke", Attempt: 3, Message: anyBytes,
		Chain: []store.ErrorRecord{{Type: "*x.Error", Message: "m"}, {}}, Stack: "goroutine 1",
	}
}

func fullErrand() store.Errand {
	return store.Errand{
		Kind: store.CancelTicket, Place: fullPlace(), Target: store.Key{Workflow: anyBytes, ID: "\xff"},
		Fingerprint: "f", Input: []byte("in"), Holds: []store.Hold{fullHold(), fullHold()}, Ticket: "t", Provider: "p", Revision: 1 << 40,
	}
}

func fullEvent() store.Event {
	return store.Event{
		Kind: store.ChildEnded, Path: "a/b", Items: []int{0, 5, 1<<31 - 2}, Place: fullPlace(), State: store.Failed,
		Output: []byte("out"), Failures: []store.Failure{fullFailure(), {}}, Permanent: true,
		Revision: 1 << 41, At: time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC),
		Task: store.TaskResult{
			Compensate: true, Ordinal: 1 << 50, Undo: []byte("undo"), Failed: true, Skipped: true, Pauses: true, RetryAfter: 1<<63 - 1,
			Unknown: true, TimedOut: true, Died: true, Run: "run",
		},
	}
}

func fullOrder() store.Order {
	return store.Order{
		Place: fullPlace(), Path: "a/b", Key: anyBytes, Items: []int{0, 5, 1<<31 - 2}, Compensate: true, Number: 1 << 30, Ordinal: 1 << 60,
		Epoch: 9, Input: []byte("in"), Outcome: "unknown", Suspect: true,
	}
}

// pointer returns a pointer to a copy of the record.
func pointer(rec any) reflect.Value {
	p := reflect.New(reflect.TypeOf(rec))
	p.Elem().Set(reflect.ValueOf(rec))
	return p
}

// wantBack encodes the record, and expects to decode it.
func wantBack(t *testing.T, r recordType, rec any, what string) {
	t.Helper()
	data := r.encode(pointer(rec).Interface(), nil)
	got, err := r.decode(data)
	if err != nil || !reflect.DeepEqual(got, rec) {
		t.Errorf("%s, %s: %+v became %+v, %v", r.name, what, rec, got, err)
	}
}

// leaves calls visit for each field of a record, and of the records that it holds as
// they are. The fields are those of v itself.
func leaves(v reflect.Value, path string, visit func(path string, field reflect.Value)) {
	for i := range v.NumField() {
		name := path + "." + v.Type().Field(i).Name
		field := v.Field(i)
		if field.Kind() == reflect.Struct && field.Type() != reflect.TypeFor[time.Time]() {
			leaves(field, name, visit)
			continue
		}
		visit(name, field)
	}
}

func TestEveryFieldIsKept(t *testing.T) {
	for _, r := range recordTypes() {
		wantBack(t, r, r.full, "full")
		leaves(reflect.ValueOf(r.full), "", func(path string, field reflect.Value) {
			if field.IsZero() {
				t.Errorf("%s: the test leaves %s out", r.name, path)
			}
			only := pointer(reflect.Zero(reflect.TypeOf(r.full)).Interface())
			leaves(only.Elem(), "", func(p string, f reflect.Value) {
				if p == path {
					f.Set(field)
				}
			})
			wantBack(t, r, only.Elem().Interface(), "only "+path)
		})
	}
}

func TestEveryFieldMayBeZero(t *testing.T) {
	for _, r := range recordTypes() {
		wantBack(t, r, reflect.Zero(reflect.TypeOf(r.full)).Interface(), "empty")
		rec := pointer(r.full)
		leaves(rec.Elem(), "", func(path string, field reflect.Value) {
			before := reflect.ValueOf(field.Interface())
			field.SetZero()
			wantBack(t, r, rec.Elem().Interface(), "without "+path)
			field.Set(before)
		})
	}
}

func TestEmptyBytesAreNotNoBytes(t *testing.T) {
	for _, r := range recordTypes() {
		leaves(reflect.ValueOf(r.full), "", func(path string, field reflect.Value) {
			if field.Type() != reflect.TypeFor[[]byte]() {
				return
			}
			rec := pointer(r.full)
			leaves(rec.Elem(), "", func(p string, f reflect.Value) {
				if p == path {
					f.SetBytes([]byte{})
				}
			})
			wantBack(t, r, rec.Elem().Interface(), "with an empty "+path)
		})
	}
}

func TestEveryStateIsKept(t *testing.T) {
	var list []any
	for _, s := range []store.StepState{
		store.StepNone, store.StepNotStarted, store.StepInvoking, store.StepCompensating, store.StepDone, store.StepReverted, store.StepFailed,
		store.StepDormant, store.StepSkipped, store.StepSkippedFailure, store.StepTimeout,
	} {
		list = append(list, store.Node{Invoke: store.Progress{State: s}})
	}
	for _, w := range []store.WaitReason{
		store.NotWaiting, store.WaitingForRetry, store.WaitingForTimer, store.WaitingForLock, store.WaitingOutside,
		store.WaitingForChild, store.WaitingForTurn, store.WaitingForQueue,
	} {
		list = append(list, store.Node{Compensate: store.Progress{Waits: w}})
	}
	for s := store.FrameWaiting; s <= store.FrameUndone; s++ {
		list = append(list, store.Frame{State: s})
	}
	for _, k := range []store.ErrandKind{
		"", store.StartChild, store.RevertChild, store.ForgetChild, store.AnswerParent, store.ReleaseLocks, store.CancelTicket,
	} {
		list = append(list, store.Errand{Kind: k})
	}
	for _, k := range []store.EventKind{
		"", store.CompleteStep, store.FailStep, store.Cancel, store.Revert, store.Resume, store.ChildEnded,
	} {
		list = append(list, store.Event{Kind: k})
	}
	for _, s := range []store.ExecutionState{
		"", store.NotStarted, store.Invoking, store.WaitingToCompensate, store.Compensating, store.Done, store.Reverted, store.Failed,
	} {
		list = append(list, store.Event{State: s})
	}
	for _, rec := range list {
		for _, r := range recordTypes() {
			if reflect.TypeOf(r.full) == reflect.TypeOf(rec) {
				wantBack(t, r, rec, "alone")
			}
		}
	}
}

func TestTimesAreKeptToTheNanosecond(t *testing.T) {
	event := recordTypes()[4]
	for _, at := range []time.Time{
		{},
		time.Unix(0, 0),
		time.Unix(0, 1),
		time.Unix(0, -1),
		time.Unix(-1, 999_999_999),
		time.Date(1955, 5, 5, 5, 5, 5, 5, time.UTC),
		time.Unix(0, 1<<63-1),
		time.Unix(0, -1<<63),
		time.Unix(0, -1<<63).Add(1),
		time.Unix(0, -1<<63).Add(-1),
		time.Unix(0, 1<<63-1).Add(1),
		time.Now().Add(1<<63 - 1), // as late as a duration can say
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC),
		time.Date(-400, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("x", 3600)),
	} {
		rec := store.Event{At: at}
		back, err := store.DecodeEvent(rec.Encode(nil))
		if err != nil || !back.At.Equal(at) || back.At.IsZero() != at.IsZero() || back.At.Location() != time.UTC {
			t.Errorf("%s became %s, %v", at, back.At, err)
		}
		wantBack(t, event, back, "once more")
	}
}

func TestARecordIsAppendedToWhatIsThere(t *testing.T) {
	for _, r := range recordTypes() {
		for _, rec := range []any{r.full, reflect.Zero(reflect.TypeOf(r.full)).Interface()} {
			alone := r.encode(pointer(rec).Interface(), nil)
			behind := r.encode(pointer(rec).Interface(), []byte("before"))
			if string(behind) != "before"+string(alone) {
				t.Errorf("%s: %q alone, %q behind others", r.name, alone, behind)
			}
		}
	}
}

// A cell whose data is nil would be deleted.
func TestTheRecordOfACellIsNeverNil(t *testing.T) {
	for _, r := range recordTypes()[:4] {
		if data := r.encode(pointer(reflect.Zero(reflect.TypeOf(r.full)).Interface()).Interface(), nil); data == nil {
			t.Errorf("the empty %s is nil", r.name)
		}
	}
}

func TestEqualRecordsHaveEqualBytes(t *testing.T) {
	for _, r := range recordTypes() {
		one, two := r.encode(pointer(r.full).Interface(), nil), r.encode(pointer(r.full).Interface(), nil)
		if string(one) != string(two) {
			t.Errorf("%s: %q, then %q", r.name, one, two)
		}
	}
}

// What no reader could tell apart from another is written so that none reads it.
func TestAnUnknownNameCannotBeReadBack(t *testing.T) {
	types := recordTypes()
	frame, node, errand, event := types[0], types[1], types[3], types[4]
	for what, c := range map[string]struct {
		r   recordType
		rec any
	}{
		"step state":      {node, store.Node{Invoke: store.Progress{State: 200}}},
		"wait reason":     {node, store.Node{Invoke: store.Progress{Waits: 200}}},
		"frame state":     {frame, store.Frame{State: store.FrameUndone + 1}},
		"errand kind":     {errand, store.Errand{Kind: "strange"}},
		"event kind":      {event, store.Event{Kind: "strange"}},
		"execution state": {event, store.Event{State: "strange"}},
	} {
		wantDamaged(t, c.r, c.r.encode(pointer(c.rec).Interface(), nil), what, "field")
	}
}

func TestCellsOfAFrameFollowItInTheOrderOfItsNodes(t *testing.T) {
	var last store.CellID
	for i, id := range []store.CellID{
		store.FrameCell(0), store.NodeCell(store.Place{}), store.NodeCell(store.Place{Node: 1}), store.NodeCell(store.Place{Node: 1 << 31}),
		store.FrameCell(1), store.NodeCell(store.Place{Frame: 1}),
		store.FrameCell(store.MaxFrames), store.NodeCell(store.Place{Frame: store.MaxFrames, Node: 1<<32 - 2}),
		store.OutboxCell(0), store.OutboxCell(1<<32 - 1),
		store.FailureCell(0), store.FailureCell(1), store.FailureCell(1<<32 - 1),
	} {
		if i > 0 && id <= last {
			t.Errorf("cell %d has the id %x, after %x", i, id, last)
		}
		last = id
	}
}

func TestACellsIDTellsWhatItHolds(t *testing.T) {
	type named struct {
		kind store.CellKind
		at   store.Place
		n    uint32
	}
	for id, want := range map[store.CellID]named{
		store.FrameCell(0):                             {store.FrameKind, store.Place{}, 0},
		store.FrameCell(store.MaxFrames):               {store.FrameKind, store.Place{Frame: store.MaxFrames}, 0},
		store.NodeCell(store.Place{}):                  {store.NodeKind, store.Place{}, 0},
		store.NodeCell(store.Place{Frame: 7, Node: 9}): {store.NodeKind, store.Place{Frame: 7, Node: 9}, 0},
		store.FailureCell(0):                           {store.FailureKind, store.Place{}, 0},
		store.FailureCell(12):                          {store.FailureKind, store.Place{}, 12},
		store.OutboxCell(0):                            {store.OutboxKind, store.Place{}, 0},
		store.OutboxCell(1<<32 - 1):                    {store.OutboxKind, store.Place{}, 1<<32 - 1},
	} {
		var got named
		got.kind, got.at, got.n = id.Split()
		if got != want {
			t.Errorf("%x is %+v, want %+v", id, got, want)
		}
	}
}

func TestNamesAreNotRunTogetherInAKeysText(t *testing.T) {
	seen := map[string]store.Key{}
	for _, k := range []store.Key{
		{Workflow: "a", ID: "b/c"}, {Workflow: "a/b", ID: "c"}, {Workflow: `a"/"b`, ID: "c"}, {ID: "a/b/c"}, {Workflow: "a\xff", ID: "b"}, {Workflow: "a\ufffd", ID: "b"},
	} {
		text := k.String()
		if other, ok := seen[text]; ok {
			t.Errorf("%#v and %#v are both %s", other, k, text)
		}
		seen[text] = k
	}
}

func TestTheErrorOfAFencedWriteTellsWhatStands(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", &store.FencedError{
		Key:   store.Key{Workflow: "w", ID: "x"},
		Wrote: store.Fence{Owner: store.Instance{Node: "n", Incarnation: "1"}, Epoch: 2, Revision: 3},
		Found: store.Fence{Owner: store.Instance{Node: "m", Incarnation: "4"}, Epoch: 5, Revision: 6},
	})
	want := `wrapped: store: write to "w"/"x" refused: owner "n/1" epoch 2 revision 3 wrote, found owner "m/4" epoch 5 revision 6`
	if !errors.Is(err, store.ErrFenced) || errors.Is(err, store.ErrNotFound) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
