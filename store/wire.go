package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// Records are written as fields: a number and a value, in rising order, those with
// their zero value left out. A number is followed by an unsigned varint or, where its
// lowest bit is set, by a length and as many bytes. A reader refuses a field that it
// does not know: it was written by a later version, and to leave it out would change
// what the record says.

// ErrRecord is matched by [*RecordError].
var ErrRecord = errors.New("store: record cannot be read")

// RecordError is the error of a stored record that is not what it should be.
type RecordError struct {
	Record string // what it should be
	Reason string
}

func (e *RecordError) Error() string {
	return "store: stored " + e.Record + " cannot be read: " + e.Reason
}

// Is makes the error match [ErrRecord].
func (e *RecordError) Is(target error) bool { return target == ErrRecord }

// The number of a field, with the bit beside it, is one byte: there are few fields.

func putUint(b []byte, field uint64, v uint64) []byte {
	if v == 0 {
		return b
	}
	if v < 0x80 {
		return append(b, byte(field<<1), byte(v))
	}
	return binary.AppendUvarint(append(b, byte(field<<1)), v)
}

func putBool(b []byte, field uint64, v bool) []byte {
	if !v {
		return b
	}
	return putUint(b, field, 1)
}

// putBytes keeps nil and empty apart.
func putBytes(b []byte, field uint64, v []byte) []byte {
	if v == nil {
		return b
	}
	return append(putLength(b, field, len(v)), v...)
}

// putLength is what comes before so many bytes.
func putLength(b []byte, field uint64, n int) []byte {
	if n < 0x80 {
		return append(b, byte(field<<1|1), byte(n))
	}
	return binary.AppendUvarint(append(b, byte(field<<1|1)), uint64(n))
}

func putString(b []byte, field uint64, v string) []byte {
	if v == "" {
		return b
	}
	return putItem(b, field, v)
}

// putItem writes one of several strings, which may be empty.
func putItem(b []byte, field uint64, v string) []byte {
	return append(putLength(b, field, len(v)), v...)
}

// centuries is how many seconds from 1970 on, and back, can surely be counted in
// nanoseconds.
const centuries = math.MaxInt64/int64(time.Second) - 1

// putTime keeps nanoseconds. The zero time stays what it is. Most times are written as
// a number of nanoseconds, those of other centuries as the seconds and what is left.
func putTime(b []byte, field uint64, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	s, n := t.Unix(), t.UnixNano()
	if -centuries < s && s < centuries || n != math.MinInt64 && time.Unix(0, n).Equal(t) {
		return putUint(b, field, (uint64(n)<<1^uint64(n>>63))+1) // zigzag; not zero for 1970
	}
	var room [2 * binary.MaxVarintLen64]byte
	long := binary.AppendVarint(room[:0], t.Unix())
	return putBytes(b, field, binary.AppendUvarint(long, uint64(t.Nanosecond())))
}

// putNested writes a record within a record.
func putNested(b []byte, field uint64, put func([]byte) []byte) []byte {
	b, at := openNested(b, field)
	return closeNested(put(b), at)
}

// openNested begins a record within a record. Its length is not known before: there is
// room for one byte of it, which does for most.
func openNested(b []byte, field uint64) (_ []byte, at int) {
	b = append(b, byte(field<<1|1), 0)
	return b, len(b) - 1
}

// closeNested ends the record that was begun there.
func closeNested(b []byte, at int) []byte {
	n := len(b) - at - 1
	if n < 0x80 {
		b[at] = byte(n)
		return b
	}
	var room [binary.MaxVarintLen64]byte
	length := binary.AppendUvarint(room[:0], uint64(n))
	b = append(b, length[1:]...)
	copy(b[at+len(length):], b[at+1:at+1+n])
	copy(b[at:], length)
	return b
}

// reader takes a record apart.
type reader struct {
	record string
	data   []byte
	last   uint64 // the field before
	err    error

	field uint64
	num   uint64
	bytes []byte // not nil when the field has bytes
}

// next goes to the next field. It answers false at the end, and on an error.
func (r *reader) next() bool {
	if r.err != nil || len(r.data) == 0 {
		return false
	}
	tag, ok := r.uvarint()
	if !ok {
		return false
	}
	r.field = tag >> 1
	if r.field < r.last {
		return r.fail("field %d comes after field %d", r.field, r.last)
	}
	r.last = r.field
	r.num, r.bytes = 0, nil
	if tag&1 == 0 {
		r.num, ok = r.uvarint()
		return ok
	}
	n, ok := r.uvarint()
	if !ok {
		return false
	}
	if n > uint64(len(r.data)) {
		return r.fail("field %d has %d bytes, %d are there", r.field, n, len(r.data))
	}
	r.bytes, r.data = r.data[:n:n], r.data[n:]
	return true
}

func (r *reader) uvarint() (uint64, bool) {
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		return 0, r.fail("it ends within a number")
	}
	r.data = r.data[n:]
	return v, true
}

// fail returns false.
func (r *reader) fail(format string, args ...any) bool {
	if r.err == nil {
		r.err = &RecordError{Record: r.record, Reason: fmt.Sprintf(format, args...)}
	}
	return false
}

// unknown is for a field that the reader does not know.
func (r *reader) unknown() {
	r.fail("it has a field %d, which this version does not know", r.field)
}

// uint is the number that the field has.
func (r *reader) uint() uint64 {
	if r.bytes != nil {
		r.fail("field %d has bytes where a number belongs", r.field)
	}
	return r.num
}

// upTo is a number with a bound.
func (r *reader) upTo(most uint64) uint64 {
	v := r.uint()
	if v > most {
		r.fail("field %d is %d", r.field, v)
		return 0
	}
	return v
}

func (r *reader) count() int { return int(r.upTo(math.MaxInt32)) }

// index is a number that is kept one higher, so that zero is written.
func (r *reader) index() int {
	n := r.upTo(math.MaxInt32)
	if n == 0 {
		r.fail("field %d is no index", r.field)
	}
	return int(n) - 1
}

func (r *reader) frame() FrameID { return FrameID(r.upTo(MaxFrames)) }

func (r *reader) bool() bool { return r.upTo(1) == 1 }

// blob are the bytes that the field has: a part of the record.
func (r *reader) blob() []byte {
	if r.bytes == nil {
		r.fail("field %d has a number where bytes belong", r.field)
	}
	return r.bytes
}

func (r *reader) string() string { return string(r.blob()) }

func (r *reader) nested(record string) *reader { return &reader{record: record, data: r.blob()} }

func (r *reader) time() time.Time {
	if r.bytes != nil {
		return r.longTime()
	}
	if r.num == 0 {
		r.fail("field %d is no time", r.field)
		return time.Time{}
	}
	z := r.num - 1
	n := int64(z>>1) ^ -int64(z&1) // zigzag
	return time.Unix(0, n).UTC()
}

// longTime reads a time outside of what nanoseconds can count.
func (r *reader) longTime() time.Time {
	seconds, n := binary.Varint(r.bytes)
	if n <= 0 {
		r.fail("field %d is no time", r.field)
		return time.Time{}
	}
	nanos, m := binary.Uvarint(r.bytes[n:])
	if m <= 0 || n+m != len(r.bytes) || nanos >= uint64(time.Second) {
		r.fail("field %d is no time", r.field)
		return time.Time{}
	}
	return time.Unix(seconds, int64(nanos)).UTC()
}

// take takes the error of a nested reader.
func (r *reader) take(err error) {
	if r.err == nil {
		r.err = err
	}
}
