package rediskit

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The values are those that a Redis 7.0 server gives for CLUSTER KEYSLOT.
func TestASlotIsTheOneThatRedisCalculates(t *testing.T) {
	for key, want := range map[string]int{
		"": 0, "123456789": 12739, "medusa_lock:cart_1": 3528, "{user1000}.following": 3443, "user1000": 3443,
		"foo{}{bar}": 8363, "foo{{bar}}zap": 4015, "foo{bar}{zap}": 5061, "bar": 5061,
	} {
		if got := Slot(key); got != want {
			t.Errorf("Slot(%q) = %d, want %d", key, got, want)
		}
	}
}

// Tags are part of what is kept in Redis: they never change.
func TestTagsNeverChange(t *testing.T) {
	for slot, want := range map[int]string{0: "1bz", 1: "emj", 3528: "57x", 5061: "bar", 12739: "za2", 16383: "hia"} {
		if got := Tag(slot); got != want {
			t.Errorf("Tag(%d) = %q, want %q", slot, got, want)
		}
	}
}

func TestEverySlotHasATag(t *testing.T) {
	for slot := range Slots {
		tag := Tag(slot)
		if Slot("x{"+tag+"}y{z}") != slot || strings.ContainsAny(tag, "{}:") || len(tag) > 4 {
			t.Fatalf("the tag %q of slot %d", tag, slot)
		}
	}
}

func TestATagInFrontDecidesTheSlotWhateverFollows(t *testing.T) {
	for prefix, want := range map[string]bool{"medusa_lock:": false, "{a}:": true, "x{a}": true, "{": false, "{}": false, "{}{a}": false, "a}": false, "{a": false} {
		if got := Tagged(prefix); got != want {
			t.Errorf("Tagged(%q) = %t", prefix, got)
		}
		for _, rest := range []string{"k", "}", "{b}", "a}b", ""} {
			if Tagged(prefix) && Slot(prefix+rest) != Slot(prefix) {
				t.Errorf("%q is not in the slot of %q", prefix+rest, prefix)
			}
		}
	}
}
