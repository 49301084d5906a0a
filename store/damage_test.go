package store_test

import (
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/store"
)

// wantDamaged expects that the data is refused, as the record it should be.
func wantDamaged(t *testing.T, r recordType, data []byte, what, reason string) {
	t.Helper()
	got, err := r.decode(data)
	rec, ok := errors.AsType[*store.RecordError](err)
	if !ok || !errors.Is(err, store.ErrRecord) || !strings.Contains(err.Error(), reason) || rec.Record == "" {
		t.Errorf("%s, %s: %q is read as %+v, %v; want an error about %q", r.name, what, data, got, err, reason)
	}
}

func number(field, v uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, field<<1), v)
}

func blob(field uint64, v string) []byte {
	return append(binary.AppendUvarint(binary.AppendUvarint(nil, field<<1|1), uint64(len(v))), v...)
}

func TestAnUnknownFieldIsRefused(t *testing.T) {
	for _, r := range recordTypes() {
		for _, field := range []uint64{0, 14, 100, 1 << 62} {
			wantDamaged(t, r, number(field, 1), "a number", "does not know")
			wantDamaged(t, r, blob(field, "x"), "bytes", "does not know")
		}
		full := r.encode(pointer(r.full).Interface(), nil)
		wantDamaged(t, r, append(full, number(1<<20, 1)...), "behind all others", "does not know")
	}
}

func TestFieldsInTheWrongOrderAreRefused(t *testing.T) {
	for _, r := range recordTypes() {
		full := r.encode(pointer(r.full).Interface(), nil)
		wantDamaged(t, r, append(full, full...), "twice over", "comes after")
	}
}

func TestATruncatedRecordIsNeverReadAsTheWhole(t *testing.T) {
	for _, r := range recordTypes() {
		full := r.encode(pointer(r.full).Interface(), nil)
		ended := 0
		for n := range full {
			got, err := r.decode(full[:n])
			switch {
			case err != nil && !errors.Is(err, store.ErrRecord):
				t.Errorf("%s: its first %d bytes: %v", r.name, n, err)
			case err == nil && reflect.DeepEqual(got, r.full):
				t.Errorf("%s: its first %d bytes of %d are read as the whole", r.name, n, len(full))
			case err != nil:
				ended++
			}
		}
		if ended < len(full)/2 {
			t.Errorf("%s: only %d of %d truncations were noticed", r.name, ended, len(full))
		}
	}
}

func TestANumberThatNeverEndsIsRefused(t *testing.T) {
	for _, r := range recordTypes() {
		wantDamaged(t, r, []byte{0x80}, "cut", "within a number")
		wantDamaged(t, r, []byte(strings.Repeat("\xff", 11)), "endless", "within a number")
		wantDamaged(t, r, []byte{1<<1 | 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 'x'}, "a length beyond the end", "are there")
	}
}

// A field that changed its kind is of another version, or damaged.
func TestAFieldOfTheWrongKindIsRefused(t *testing.T) {
	types := recordTypes()
	frame, node, failure, errand, event := types[0], types[1], types[2], types[3], types[4]
	for _, c := range []struct {
		r    recordType
		data []byte
	}{
		{frame, blob(1, "x")},
		{frame, number(2, 1)},
		{frame, blob(4, "x")},
		{frame, number(5, 1)},
		{frame, number(6, 1)},
		{node, number(1, 1)},
		{node, blob(3, "x")},
		{node, blob(4, "x")},
		{node, blob(7, "x")},
		{node, number(9, 1)},
		{node, blob(1, string(blob(1, "x")))},
		{failure, number(1, 1)},
		{failure, number(5, 1)},
		{errand, blob(1, "x")},
		{errand, number(3, 1)},
		{event, blob(1, "x")},
		{event, blob(9, "x")},
	} {
		wantDamaged(t, c.r, c.data, "of the wrong kind", "belong")
	}
}

func TestANumberOutOfBoundsIsRefused(t *testing.T) {
	types := recordTypes()
	frame, node, event := types[0], types[1], types[4]
	for what, c := range map[string]struct {
		r    recordType
		data []byte
	}{
		"a sequence":         {frame, number(1, 1<<31)},
		"a frame's state":    {frame, number(4, 200)},
		"a frame":            {node, number(7, store.MaxFrames+1)},
		"a frame of a place": {frame, blob(2, string(number(1, 1<<40)))},
		"a count":            {node, number(8, 1<<63)},
		"yes or no":          {node, number(4, 2)},
		"an item":            {event, number(9, 0)},
		"an item too far":    {event, number(9, 1<<31)},
	} {
		wantDamaged(t, c.r, c.data, what, "field")
	}
}

func TestWhatIsNoTimeIsRefused(t *testing.T) {
	event := recordTypes()[4]
	long := func(seconds int64, rest ...byte) []byte {
		return blob(8, string(append(binary.AppendVarint(nil, seconds), rest...)))
	}
	for what, data := range map[string][]byte{
		"zero":                 number(8, 0),
		"no bytes":             blob(8, ""),
		"seconds alone":        long(5),
		"a second too many":    long(5, binary.AppendUvarint(nil, 1e9)...),
		"something behind":     long(5, 1, 1),
		"seconds cut":          blob(8, "\x80"),
		"nanoseconds cut":      long(5, 0x80),
		"nanoseconds too long": long(5, []byte(strings.Repeat("\xff", 11))...),
	} {
		wantDamaged(t, event, data, what, "no time")
	}
}

func TestDamageWithinARecordIsTheRecords(t *testing.T) {
	types := recordTypes()
	for _, c := range []struct {
		r     recordType
		field uint64
	}{
		{types[0], 2}, {types[0], 6}, {types[1], 1}, {types[1], 2}, {types[1], 11}, {types[2], 5}, {types[3], 2}, {types[3], 3}, {types[3], 6}, {types[4], 3}, {types[4], 6},
	} {
		wantDamaged(t, c.r, blob(c.field, string(number(99, 1))), "an unknown field within", "does not know")
		wantDamaged(t, c.r, blob(c.field, "\x80"), "cut within", "within a number")
	}
}
