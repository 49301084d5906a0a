package store_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// fuzzRecord tries any bytes as a record: they are refused with a [store.RecordError],
// or stand for a record that is kept as every other.
func fuzzRecord(f *testing.F, r recordType) {
	f.Helper()
	full := r.encode(pointer(r.full).Interface(), nil)
	for _, seed := range [][]byte{
		nil, full, full[:len(full)/2], append([]byte{0xff}, full...),
		r.encode(pointer(reflect.Zero(reflect.TypeOf(r.full)).Interface()).Interface(), nil),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := r.decode(data)
		if err != nil {
			if _, ok := errors.AsType[*store.RecordError](err); !ok {
				t.Fatalf("%q: %v", data, err)
			}
			return
		}
		back, err := r.decode(r.encode(pointer(rec).Interface(), nil))
		if err != nil || !reflect.DeepEqual(back, rec) {
			t.Fatalf("%q is %+v, and then %+v, %v", data, rec, back, err)
		}
	})
}

func FuzzFrame(f *testing.F)   { fuzzRecord(f, recordTypes()[0]) }
func FuzzNode(f *testing.F)    { fuzzRecord(f, recordTypes()[1]) }
func FuzzFailure(f *testing.F) { fuzzRecord(f, recordTypes()[2]) }
func FuzzErrand(f *testing.F)  { fuzzRecord(f, recordTypes()[3]) }
func FuzzEvent(f *testing.F)   { fuzzRecord(f, recordTypes()[4]) }
func FuzzOrder(f *testing.F)   { fuzzRecord(f, recordTypes()[5]) }

// FuzzEventOfAnything tries any contents as an event.
func FuzzEventOfAnything(f *testing.F) {
	f.Add("a/b", []byte("x"), 0, int64(0), 0, "m", true)
	f.Add("", []byte(nil), 1<<31-2, int64(-1), 0, "\xff", false)
	f.Fuzz(func(t *testing.T, path string, output []byte, item int, seconds int64, nanos int, message string, permanent bool) {
		if item < 0 || item > 1<<31-2 {
			t.Skip("no item of a loop")
		}
		e := store.Event{
			Kind: store.CompleteStep, Path: path, Items: []int{item}, Output: output, Permanent: permanent,
			Failures: []store.Failure{{Message: message, Stack: path}}, At: instant(seconds, nanos),
		}
		back, err := store.DecodeEvent(e.Encode(nil))
		if err != nil || !reflect.DeepEqual(back, e) {
			t.Fatalf("%+v became %+v, %v", e, back, err)
		}
	})
}

// instant is a time without what is not kept of one.
func instant(seconds int64, nanos int) time.Time {
	t := time.Unix(seconds, int64(nanos)).UTC()
	if t.IsZero() {
		return time.Time{}
	}
	return t
}
