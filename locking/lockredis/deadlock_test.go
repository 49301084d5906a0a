package lockredis_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// An execution's guard is held, and each of its many items waits for a key that
// somebody else has; any of them may then ask for the guard.
func TestADeadlockIsFoundAmongThousandsThatWaitOnBehalfOfOneOwner(t *testing.T) {
	t.Parallel()
	const items = 2000
	r := newRig(t)
	r.take("E", 0, "guard")
	done := make(chan error, items)
	limit := make(chan struct{}, 50)
	for i := range items {
		limit <- struct{}{}
		go func() {
			defer func() { <-limit }()
			key := fmt.Sprintf("i%05d", i)
			if _, err := r.Acquire(bg, try(fmt.Sprint("F", i), key)); err != nil {
				done <- err
				return
			}
			_, err := r.Enqueue(bg, driver.Ticket{ID: key, Request: driver.Request{
				Keys: []string{key}, Owner: fmt.Sprint("E/", i), Enclosing: []string{"E"}, Born: 1, TTL: time.Minute,
			}})
			done <- err
		}()
	}
	for range items {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range []int{0, items / 2, items - 1} {
		_, err := r.Acquire(bg, driver.Request{Keys: []string{"guard"}, Owner: fmt.Sprint("F", i), Wait: 2 * time.Second})
		var circle *driver.DeadlockError
		if !errors.As(err, &circle) {
			t.Errorf("F%d holds what E waits for, and asks for what E has: %v", i, err)
			continue
		}
		want := []driver.Wait{
			{Owner: fmt.Sprint("F", i), Key: "guard", Holder: "E"},
			{Owner: fmt.Sprint("E/", i), Key: fmt.Sprintf("i%05d", i), Holder: fmt.Sprint("F", i)},
		}
		if fmt.Sprint(circle.Cycle) != fmt.Sprint(want) {
			t.Errorf("the circle is %+v, want %+v", circle.Cycle, want)
		}
	}
}
