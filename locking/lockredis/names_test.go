package lockredis_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// FuzzNamesOfAnyBytes: a key, and an owner, of any bytes is taken, told of, waited for,
// handed over and freed as it is, and nothing is left behind.
func FuzzNamesOfAnyBytes(f *testing.F) {
	for _, k := range []string{
		"prod_123", "a{b}c", "}{", "{}", "{}}", "\x00\xff", "~lockstep:{0}:t", "medusa_lock:k", ":h:", "::", "*", "execute:1",
		"a b\r\n$3\r\nx", "%s%d", `'"\`, "[*]?", "7:number", "ключ", strings.Repeat("long{", 13_000),
	} {
		f.Add(k, "other")
		f.Add("other", k)
		f.Add(k, k)
	}
	server := redistest.Start(f)
	client := server.Client()
	p := lockredis.New(lockredis.Config{RedisURL: server.URL()})
	if err := p.Start(bg, driver.Env{Logger: slog.New(slog.DiscardHandler)}); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := p.Close(bg); err != nil {
			f.Errorf("close: %v", err)
		}
	})
	f.Fuzz(func(t *testing.T, first, second string) {
		if first == "" || second == "" {
			t.Skip("a key is not empty: the service says so")
		}
		keys := []string{first, second}
		slices.Sort(keys)
		keys = slices.Compact(keys)
		r := &rig{p, t, server, client}
		me, you := "me"+first, "you"+second
		g := r.take(me, time.Minute, keys...)
		if owner := client.Get(bg, "medusa_lock:"+first).Val(); owner != me {
			t.Fatalf("the lock of %.100q is %.100q's", first, owner)
		}
		r.busy(you, keys...)
		got := r.ask(driver.Request{Keys: keys, Owner: you, TTL: time.Minute, Wait: time.Minute})
		for i, k := range keys {
			redistest.Eventually(t, 10*time.Second, func() string {
				s := r.state(k)
				if s.Key != k || s.Owner != me || s.Token != g.Holds[i].Token || len(s.Waiters) != 1 || s.Waiters[0].Owner != you || !slices.Equal(s.Waiters[0].Keys, keys) {
					return fmt.Sprintf("of %.100q is told %.1000q", k, fmt.Sprint(s))
				}
				return ""
			})
		}
		for _, foreign := range []bool{false, true} {
			if all := keysOf(r.list(driver.ListRequest{IncludeForeign: foreign})); !slices.Equal(all, keys) {
				t.Fatalf("held are %.1000q", fmt.Sprint(all))
			}
		}
		r.free(g)
		g = granted(t, got, 10*time.Second, "who waited")
		for i, h := range g.Holds {
			if h.Key != keys[i] || h.Owner != you {
				t.Fatalf("granted is %.1000q", fmt.Sprint(h))
			}
		}
		if n, err := r.ReleaseAll(bg, you); n != len(keys) || err != nil {
			t.Fatalf("released were %d, %v", n, err)
		}
		if left := leftBehind(t, server, 0); len(left) > 0 {
			t.Fatalf("left are %.1000q", strings.Join(left, "\n"))
		}
	})
}
