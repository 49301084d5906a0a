// Package rediskit is what everything that speaks to Redis shares: opening a
// client, running scripts, and the arithmetic of hash slots.
package rediskit

import (
	"strconv"
	"strings"
	"sync"
)

// Slots is the number of hash slots of a Redis Cluster.
const Slots = 16384

// Slot returns the hash slot of a key, as the Redis Cluster specification has it:
// CRC16 (XMODEM) of the key, or of what stands between its first "{" and the next
// "}" when that is not empty.
func Slot(key string) int {
	if i := strings.IndexByte(key, '{'); i >= 0 {
		if n := strings.IndexByte(key[i+1:], '}'); n > 0 {
			key = key[i+1 : i+1+n]
		}
	}
	var crc uint16
	for i := range len(key) {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^key[i]]
	}
	return int(crc) % Slots
}

// Tagged says that a key which begins so has its slot by that beginning alone,
// whatever follows: it has a tag.
func Tagged(prefix string) bool {
	i := strings.IndexByte(prefix, '{')
	return i >= 0 && strings.IndexByte(prefix[i+1:], '}') > 0
}

// crcTable has the CRC16 (XMODEM) of each byte.
var crcTable = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()

// Tag returns the shortest tag, and the first of those, whose slot is the one
// given: "{" + Tag(slot) + "}" puts any key into it. The tags are the numbers from
// zero in base 36. They are part of what is kept in Redis: a change of them would
// make processes of different versions miss each other's keys.
func Tag(slot int) string { return tags()[slot] }

var tags = sync.OnceValue(func() *[Slots]string {
	var table [Slots]string
	for i, found := int64(0), 0; found < Slots; i++ {
		tag := strconv.FormatInt(i, 36)
		if s := Slot(tag); table[s] == "" {
			table[s] = tag
			found++
		}
	}
	return &table
})
