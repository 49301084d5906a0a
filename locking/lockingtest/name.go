package lockingtest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func nameCases() []providerCase {
	return []providerCase{
		{
			name: "AnyBytesMakeAKey",
			rule: "a key may hold any bytes, and two keys that differ at all are two keys",
			run:  anyBytesMakeAKey,
		},
		{
			name: "AnyBytesTogether",
			rule: "one request may hold the oddest keys together",
			run: func(r *rig) {
				keys := oddNames()
				r.take(ask("owner", keys...))
				r.wantHeld("owner", keys...)
				r.wantReleasedAll(len(keys), "owner")
				r.wantFree(keys...)
			},
		},
		{
			name: "LongKeys",
			rule: "a key may have 64 KiB, and the last byte counts",
			run: func(r *rig) {
				long := strings.Repeat("k", 64<<10)
				h := r.takeOne(ask("owner", long))
				r.wantHeld("owner", long)
				r.wantFree(long[1:], long[:len(long)-1]+"l")
				r.wantFreed(true, h.Hold)
				r.wantFree(long)
			},
		},
		{
			name: "AnyBytesMakeAnOwner",
			rule: "a named owner may hold any bytes, and two that differ at all are two owners",
			run:  anyBytesMakeAnOwner,
		},
	}
}

// oddNames returns names that a careless provider takes for something else, or
// for each other. They are sorted.
func oddNames() []string {
	names := []string{
		"a", "A", "a ", " a", "a\n", "a\x00", "a\x00b", "\x00", " ", "\t", "\r\n",
		"\xff", "\xff\xfe", "\xc3\x28", "a\xed\xa0\x80", "\ufffd", // the last is what invalid UTF-8 is replaced by
		"ä", "a\u0308", "日本", "🔒", // the first two look the same
		"{a}", "{a}b", "{", "}", "{}", "{}{a}", "a{b", "a}b{c}",
		":", "a:", ":a", "a:b", "a::b", "medusa_lock:a", "lockstep:a",
		"'", `"`, `"a"`, "`", `\`, `\x00`, "%00", "%s", "$1", "a'b",
		"**", "a*", "?", "[a]", "[^a]", "0", "-1", "1e3", "nil", "null", "true", "false",
	}
	slices.Sort(names)
	return names
}

func anyBytesMakeAKey(r *rig) {
	for i, key := range oddNames() {
		if h := r.takeOne(ask(fmt.Sprintf("owner-%d", i), key)); h.Joined || h.Key != key {
			r.Errorf("the hold on %q is %+v, want a fresh one", key, h)
		}
	}
	for i, key := range oddNames() {
		owner := fmt.Sprintf("owner-%d", i)
		r.wantHeld(owner, key)
		r.wantFreed(true, driver.Hold{Key: key, Owner: owner})
		r.wantFree(key)
	}
}

func anyBytesMakeAnOwner(r *rig) {
	owners := oddNames()
	for i, owner := range owners {
		r.haveTime() // to look through all slots of a cluster
		key := fmt.Sprintf("key-%d", i)
		h := r.takeOne(ask(owner, key))
		if h.Owner != owner {
			r.Errorf("the hold is %q's, want %q", h.Owner, owner)
		}
		r.refuse(ask(owners[(i+1)%len(owners)], key), driver.ErrBusy)
		r.wantHeld(owner, key)
		r.wantReleasedAll(1, owner)
		r.wantFree(key)
	}
}
