package storesqlite

import (
	"database/sql/driver"
	"encoding/binary"
	"time"
)

// A time is kept as twelve bytes that sort as the times do: its seconds, then its
// nanoseconds. The zero time is NULL. No integer has room for all times.
const timeSize = 12

func timeValue(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return timeBytes(t)
}

func timeBytes(t time.Time) []byte {
	b := make([]byte, 0, timeSize)
	b = binary.BigEndian.AppendUint64(b, uint64(t.Unix())^(1<<63))
	return binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
}

func asTime(v driver.Value) time.Time {
	b, _ := v.([]byte)
	if len(b) != timeSize {
		return time.Time{}
	}
	return time.Unix(int64(binary.BigEndian.Uint64(b)^(1<<63)), int64(binary.BigEndian.Uint32(b[8:]))).UTC()
}

// bytesValue keeps nil and empty apart.
func bytesValue(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

func asBytes(v driver.Value) []byte {
	b, ok := v.([]byte)
	if ok && b == nil {
		return []byte{} // as the driver gives an empty one
	}
	return b
}

// number is how counters of 64 bits are kept: SQLite's integers have a sign.
func numberValue(n uint64) any { return int64(n) }

func asNumber(v driver.Value) uint64 {
	n, _ := v.(int64)
	return uint64(n)
}

func asInt(v driver.Value) int64 {
	n, _ := v.(int64)
	return n
}

func asText(v driver.Value) string {
	s, _ := v.(string)
	return s
}

func boolValue(b bool) any {
	if b {
		return int64(1)
	}
	return int64(0)
}

func asBool(v driver.Value) bool { return asInt(v) != 0 }

// keptTime is the time as every store keeps it.
func keptTime(t time.Time) time.Time { return t.UTC().Round(0) }
