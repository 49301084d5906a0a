package lockmem

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// BenchmarkUncontended is a lock that nobody else wants, taken and given back.
func BenchmarkUncontended(b *testing.B) {
	for _, c := range []struct {
		name string
		req  driver.Request
	}{
		{"anonymous", driver.Request{Keys: []string{"key"}, Owner: driver.Anonymous, Wait: time.Second}},
		{"named", driver.Request{Keys: []string{"key"}, Owner: "owner", Wait: time.Second}},
		{"expiring", driver.Request{Keys: []string{"key"}, Owner: "owner", TTL: time.Hour, Wait: time.Second}},
		{"three keys", driver.Request{Keys: []string{"a", "b", "c"}, Owner: "owner", Wait: time.Second}},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := started(b)
			holds := make([]driver.Hold, len(c.req.Keys))
			b.ReportAllocs()
			for b.Loop() {
				grant, err := p.Acquire(context.Background(), c.req)
				if err != nil {
					b.Fatal(err)
				}
				for i := range grant.Holds {
					holds[i] = grant.Holds[i].Hold
				}
				if _, err := p.Release(context.Background(), holds); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkParallel is many locks, each wanted by one caller, from all processors.
func BenchmarkParallel(b *testing.B) {
	p := started(b)
	var callers atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		name := strconv.FormatInt(callers.Add(1), 10)
		req := driver.Request{Keys: []string{name}, Owner: name, TTL: time.Hour, Wait: time.Second}
		for pb.Next() {
			grant, err := p.Acquire(context.Background(), req)
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := p.Release(context.Background(), []driver.Hold{grant.Holds[0].Hold}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkHandOver is a key that goes from one to the next, with so many that
// wait for it: each that is served gets into line again.
func BenchmarkHandOver(b *testing.B) {
	for _, waiters := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprint(waiters, " wait"), func(b *testing.B) {
			p := started(b)
			ctx, cancel := context.WithCancel(context.Background())
			first, err := p.Acquire(ctx, driver.Request{Keys: []string{"key"}, Owner: driver.Anonymous, Wait: time.Hour})
			if err != nil {
				b.Fatal(err)
			}
			served, gone := make(chan driver.Hold, 1), make(chan struct{}, waiters)
			for range waiters {
				go func() {
					defer func() { gone <- struct{}{} }()
					for {
						grant, err := p.Acquire(ctx, driver.Request{Keys: []string{"key"}, Owner: driver.Anonymous, Wait: time.Hour})
						if err != nil {
							return
						}
						select {
						case served <- grant.Holds[0].Hold:
						case <-ctx.Done():
							return
						}
					}
				}()
			}
			time.Sleep(100 * time.Millisecond)
			hold := first.Holds[0].Hold
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Release(ctx, []driver.Hold{hold}); err != nil {
					b.Fatal(err)
				}
				hold = <-served
			}
			cancel()
			for range waiters {
				<-gone
			}
		})
	}
}

// BenchmarkHandOverOfMany is as BenchmarkHandOver, where each that waits has a name
// and wants a second key that nobody else does.
func BenchmarkHandOverOfMany(b *testing.B) {
	for _, waiters := range []int{10, 10_000} {
		b.Run(fmt.Sprint(waiters, " wait"), func(b *testing.B) {
			p := started(b)
			ctx := context.Background()
			name := 0
			wait := func() *waiter {
				name++
				owner := strconv.Itoa(name)
				w, _, err := p.takeOrJoin(&driver.Request{Keys: []string{"hot", owner}, Owner: owner, Wait: time.Hour})
				if err != nil {
					b.Fatal(err)
				}
				return w
			}
			if _, err := p.Acquire(ctx, driver.Request{Keys: []string{"hot"}, Owner: "0"}); err != nil {
				b.Fatal(err)
			}
			line := make([]*waiter, waiters)
			for i := range line {
				line[i] = wait()
			}
			holds := []driver.Hold{{Key: "hot", Owner: "0"}}
			b.ReportAllocs()
			for i := 0; b.Loop(); i = (i + 1) % waiters {
				if _, err := p.Release(ctx, holds); err != nil {
					b.Fatal(err)
				}
				next := line[i]
				if next.state != ended {
					b.Fatal("the next in line was not served")
				}
				holds = []driver.Hold{next.grant.Holds[0].Hold, next.grant.Holds[1].Hold}
				line[i] = wait()
			}
		})
	}
}
