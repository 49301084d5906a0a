package lockredis_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/rediskit"
	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

func TestACircleOverSlots(t *testing.T) {
	t.Parallel()
	c := newCrossings(t)
	for name, f := range map[string]func(*crossings){
		"has one victim, who came last":                         lastIsGivenUp,
		"of three owners has one victim":                        threeOwners,
		"spares who compensates":                                compensationIsSpared,
		"spares the older execution":                            olderIsSpared,
		"may lie in one slot for the most part":                 partlyInOneSlot,
		"through a call over slots has its locks given back":    callOverSlots,
		"through a call's later slot is found":                  laterSlot,
		"through a job's call over slots has a victim":          jobOverSlots,
		"is found through an encloser":                          throughEncloser,
		"that a grant closes is found":                          closedByAGrant,
		"ends a ticket, which is told":                          ticketIsGivenUp,
		"that is gone at the second look has no victim":         goneAtSecondLook,
		"whose victim's caller leaves meanwhile leaves nothing": callerLeaves,
		"is found where many others wait":                       inACrowd,
		"whose victim is dead lasts until its locks lapse":      victimIsDead,
		"leaves nothing published":                              nothingIsLeft,
		"has its waits published however often they are stated": statedAgain,
		"is not looked for where nobody can be part of one":     nothingToPublish,
		"is not seen where a foreign program holds a link":      foreignHolder,
		"is found although the server has forgotten what waits": afterAFlush,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(c.in(t))
		})
	}
}

func lastIsGivenUp(c *crossings) {
	one, two, k := c.process(nil), c.process(nil), c.keys(2)
	a, b := k[0], k[1]
	hasA, hasB := one.take("one", 0, a), two.take("two", 0, b)
	first := one.waits(wants("one", b))
	began := time.Now()
	second := two.ask(driver.Request{Keys: []string{a}, Owner: "two", Wait: time.Minute})
	c.circleOf(second, began, driver.Wait{Owner: "two", Key: a, Holder: "one"}, driver.Wait{Owner: "one", Key: b, Holder: "two"})
	if s := one.state(a); s.Waiting != 0 {
		c.t.Errorf("the victim has left a trace: %+v", s)
	}
	got := goesOn(c.t, first, func() { two.free(hasB) })
	one.free(got)
	one.free(hasA)
}

func threeOwners(c *crossings) {
	k := c.keys(3)
	var rigs []*rig
	var has []driver.Grant
	for i, key := range k {
		rigs = append(rigs, c.process(nil))
		has = append(has, rigs[i].take(fmt.Sprint("o", i), 0, key))
	}
	first := rigs[0].waits(wants("o0", k[1]))
	second := rigs[1].waits(wants("o1", k[2]))
	began := time.Now()
	third := rigs[2].ask(driver.Request{Keys: k[:1], Owner: "o2", Wait: time.Minute})
	c.circleOf(third, began,
		driver.Wait{Owner: "o2", Key: k[0], Holder: "o0"},
		driver.Wait{Owner: "o0", Key: k[1], Holder: "o1"},
		driver.Wait{Owner: "o1", Key: k[2], Holder: "o2"})
	goesOn(c.t, second, func() { rigs[2].free(has[2]) })
	goesOn(c.t, first, func() { rigs[1].free(has[1]) })
}

// sparesTheLast has the one asked last that must not be the victim.
func sparesTheLast(c *crossings, victim, spared driver.Request) {
	one, two, k := c.process(nil), c.process(nil), c.keys(2)
	a, b := k[0], k[1]
	hasA := one.take("v", 0, a)
	two.take("s", 0, b)
	victim.Keys, victim.Owner = []string{b}, "v"
	spared.Keys, spared.Owner, spared.Wait = []string{a}, "s", time.Minute
	first := one.waits(victim)
	began := time.Now()
	second := two.ask(spared)
	c.circleOf(first, began, driver.Wait{Owner: "v", Key: b, Holder: "s"}, driver.Wait{Owner: "s", Key: a, Holder: "v"})
	goesOn(c.t, second, func() { one.free(hasA) })
}

func compensationIsSpared(c *crossings) {
	sparesTheLast(c, driver.Request{Born: 1}, driver.Request{Born: 2, Rank: driver.Compensation})
	sparesTheLast(c, driver.Request{Born: 1}, driver.Request{Rank: driver.Compensation})
}

func olderIsSpared(c *crossings) {
	sparesTheLast(c, driver.Request{Born: 2}, driver.Request{Born: 1})
	sparesTheLast(c, driver.Request{}, driver.Request{Born: 5})
}

func partlyInOneSlot(c *crossings) {
	one, two, k := c.process(nil), c.process(nil), c.keys(2)
	a, b, other := k[0], c.beside(k[0]), k[1]
	one.take("A", 0, a)
	one.take("B", 0, b)
	hasOther := two.take("C", 0, other)
	within := one.waits(wants("A", b))
	across := one.waits(wants("B", other))
	began := time.Now()
	last := two.ask(driver.Request{Keys: []string{a}, Owner: "C", Wait: time.Minute})
	c.circleOf(last, began,
		driver.Wait{Owner: "C", Key: a, Holder: "A"},
		driver.Wait{Owner: "A", Key: b, Holder: "B"},
		driver.Wait{Owner: "B", Key: other, Holder: "C"})
	goesOn(c.t, across, func() { two.free(hasOther) })
	select {
	case o := <-within:
		c.t.Errorf("A did not wait: %+v", o)
	default:
	}
}

// callVictim has a call hold the key of its first slot while it waits for that of the
// second one. It is the victim.
func callVictim(c *crossings, owner string) {
	one, two, k := c.process(nil), c.process(nil), c.keys(2)
	a, b := k[0], k[1]
	hasB := two.take("old", 0, b)
	call := one.waits(driver.Request{Keys: k, Owner: owner, TTL: time.Minute})
	began := time.Now()
	second := two.ask(driver.Request{Keys: []string{a}, Owner: "old", Born: 1, Wait: time.Minute})
	c.circleOf(call, began, driver.Wait{Owner: owner, Key: b, Holder: "old"}, driver.Wait{Owner: "old", Key: a, Holder: owner})
	two.free(granted(c.t, second, 5*time.Second, "who waited for what the victim had"))
	two.free(hasB)
	for _, key := range k {
		if s := one.state(key); s.Held || s.Waiting != 0 {
			c.t.Errorf("left is %+v", s)
		}
	}
}

func callOverSlots(c *crossings) { callVictim(c, "new") }

func jobOverSlots(c *crossings) { callVictim(c, "execute:1") }

// The request that waits in the second slot is the one that waited in the first.
func laterSlot(c *crossings) {
	one, two, k := c.process(nil), c.process(nil), c.keys(2)
	a, b := k[0], k[1]
	hasA, hasB := two.take("x", 0, a), two.take("two", 0, b)
	call := one.ask(driver.Request{Keys: k, Owner: "one", TTL: time.Minute, Wait: time.Minute})
	redistest.Eventually(c.t, 5*time.Second, func() string {
		if len(c.publishedFor("one")) == 0 {
			return "its wait in the first slot is not published"
		}
		return ""
	})
	two.free(hasA)
	redistest.Eventually(c.t, 5*time.Second, func() string {
		if s := one.state(b); s.Waiting != 1 {
			return fmt.Sprintf("it does not wait in the second slot: %+v", s)
		}
		return ""
	})
	began := time.Now()
	last := two.ask(driver.Request{Keys: []string{a}, Owner: "two", Wait: time.Minute})
	c.circleOf(last, began, driver.Wait{Owner: "two", Key: a, Holder: "one"}, driver.Wait{Owner: "one", Key: b, Holder: "two"})
	goesOn(c.t, call, func() { two.free(hasB) })
}

func throughEncloser(c *crossings) {
	one, two, k := c.process(nil), c.process(nil), c.keys(2)
	guard, item := k[0], k[1]
	one.take("E", 0, guard)
	hasItem := two.take("F", 0, item)
	req := wants("E/1", item)
	req.Enclosing, req.Born = []string{"E"}, 1
	inner := one.waits(req)
	began := time.Now()
	last := two.ask(driver.Request{Keys: []string{guard}, Owner: "F", Wait: time.Minute})
	c.circleOf(last, began, driver.Wait{Owner: "F", Key: guard, Holder: "E"}, driver.Wait{Owner: "E/1", Key: item, Holder: "F"})
	goesOn(c.t, inner, func() { two.free(hasItem) })
}

func closedByAGrant(c *crossings) {
	one, two, k := c.process(nil), c.process(nil), c.keys(2)
	a, b := k[0], k[1]
	hasA := two.take("three", 0, a)
	hasB := two.take("two", 0, b)
	next := one.waits(wants("one", a))
	first := one.waits(wants("one", b))
	second := two.waits(wants("two", a))
	never(c.t, 1500*time.Millisecond, func() string { // they have been looked at
		return ended(next) + ended(first) + ended(second)
	})
	began := time.Now()
	two.free(hasA)
	granted(c.t, next, 5*time.Second, "who is next")
	c.circleOf(second, began, driver.Wait{Owner: "two", Key: a, Holder: "one"}, driver.Wait{Owner: "one", Key: b, Holder: "two"})
	goesOn(c.t, first, func() { two.free(hasB) })
}

// ended says how a call ended that was to wait.
func ended(got <-chan outcome) string {
	select {
	case o := <-got:
		return fmt.Sprintf("one has ended: %+v, %v", o.grant, o.err)
	default:
		return ""
	}
}

func ticketIsGivenUp(c *crossings) {
	events := make(chan driver.Event, 100)
	one, two, k := c.process(func(e driver.Event) { events <- e }), c.process(nil), c.keys(2)
	a, b := k[0], k[1]
	hasA := one.take("E1", 0, a)
	two.take("E2", 0, b)
	ticket := one.queue("ticket "+b, driver.Request{Keys: []string{b}, Owner: "E1", Born: 2, TTL: time.Minute})
	began := time.Now()
	second := two.ask(driver.Request{Keys: []string{a}, Owner: "E2", Born: 1, Wait: time.Minute})
	var e driver.Event
	for e = next(c.t, events); e.Ticket == ""; {
		e = next(c.t, events)
	}
	c.foundInTime(began, time.Now())
	if e.Ticket != ticket.ID {
		c.t.Errorf("told was %+v", e)
	}
	sameCircle(c.t, e.Err, []driver.Wait{{Owner: "E1", Key: b, Holder: "E2"}, {Owner: "E2", Key: a, Holder: "E1"}})
	if s := one.state(b); s.Waiting != 0 {
		c.t.Errorf("the ticket still waits: %+v", s)
	}
	goesOn(c.t, second, func() { one.free(hasA) })
}

func goneAtSecondLook(c *crossings) {
	hook := &looks{}
	client := c.client()
	client.AddHook(hook)
	one, two, k := c.at(client, nil), c.process(nil), c.keys(2)
	a, b := k[0], k[1]
	one.take("one", 0, a)
	hasB := two.take("two", 0, b)
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	gone, looked := make(chan error, 1), make(chan struct{})
	go func() {
		_, err := two.Acquire(ctx, driver.Request{Keys: []string{a}, Owner: "two", Wait: time.Minute})
		gone <- err
	}()
	redistest.Eventually(c.t, 10*time.Second, func() string {
		if one.state(a).Waiting != 1 {
			return "two does not wait"
		}
		return ""
	})
	dissolve := func() {
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			c.t.Errorf("two, whose caller has gone, got %v", err)
		}
		close(looked)
	}
	hook.second.Store(&dissolve)
	first := one.ask(driver.Request{Keys: []string{b}, Owner: "one", Wait: time.Minute})
	select {
	case <-looked:
	case <-time.After(10 * time.Second):
		c.t.Fatal("nobody has looked twice")
	}
	never(c.t, 1500*time.Millisecond, func() string { return ended(first) })
	goesOn(c.t, first, func() { two.free(hasB) })
}

// callerLeaves has the caller of the victim go while the server is told of the end.
func callerLeaves(c *crossings) {
	hook := &looks{}
	client := c.client()
	client.AddHook(hook)
	one, two, k := c.process(nil), c.at(client, nil), c.keys(2)
	a, b := k[0], k[1]
	one.take("one", 0, a)
	hasB := two.take("two", 0, b)
	first := one.waits(wants("one", b))
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	gone, left := make(chan error, 1), make(chan struct{})
	leave := func() {
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			c.t.Errorf("two, whose caller has gone, got %v", err)
		}
		close(left)
	}
	hook.after.Store(&leave)
	go func() {
		_, err := two.Acquire(ctx, driver.Request{Keys: []string{a}, Owner: "two", Wait: time.Minute})
		gone <- err
	}()
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		c.t.Fatal("nobody was given up")
	}
	if n := two.Waiting(); n != 0 {
		c.t.Errorf("the process counts %d that wait", n)
	}
	if s := one.state(a); s.Waiting != 0 {
		c.t.Errorf("left is %+v", s)
	}
	goesOn(c.t, first, func() { two.free(hasB) })
}

// inACrowd has so many wait in the victim's process that the turn of each comes late.
func inACrowd(c *crossings) {
	for range 2 {
		one, two, k := c.process(nil), c.process(nil), c.keys(3)
		a, b, other := k[0], k[1], k[2]
		hasA := one.take("v", 0, a)
		two.take("s", 0, b)
		two.take("x", 0, other)
		first := one.waits(wants("v", b))
		for i := range 240 {
			one.queue(fmt.Sprint(other, i), wants(fmt.Sprint("w", i), other))
		}
		redistest.Eventually(c.t, 10*time.Second, func() string {
			if n := len(c.publishedFor("v", "w239")); n != 2 {
				return fmt.Sprintf("%d of two are published", n)
			}
			return ""
		})
		began := time.Now()
		second := two.ask(driver.Request{Keys: []string{a}, Owner: "s", Born: 1, Wait: time.Minute})
		c.circleOf(first, began, driver.Wait{Owner: "v", Key: b, Holder: "s"}, driver.Wait{Owner: "s", Key: a, Holder: "v"})
		two.free(goesOn(c.t, second, func() { one.free(hasA) }))
		two.free(driver.Grant{Holds: []driver.Granted{{Hold: driver.Hold{Key: b, Owner: "s"}}}})
	}
}

func victimIsDead(c *crossings) {
	client := c.client()
	one, two, k := c.process(nil), c.at(client, nil), c.keys(2)
	a, b := k[0], k[1]
	one.take("one", 0, a)
	const lives = 3 * time.Second
	two.take("two", lives, b)
	began := time.Now()
	first := one.waits(wants("one", b))
	second := two.ask(driver.Request{Keys: []string{a}, Owner: "two", Wait: time.Minute})
	redistest.Eventually(c.t, 10*time.Second, func() string {
		if one.state(a).Waiting != 1 {
			return "two does not wait"
		}
		return ""
	})
	client.Close() // from now on nothing of it comes to the servers
	o := asked(c.t, first, lives+5*time.Second, "the one that lives")
	if o.err != nil || o.at.Sub(began) < lives/2 {
		c.t.Fatalf("the one that lives got %+v, %v after %s", o.grant, o.err, o.at.Sub(began))
	}
	select {
	case <-second:
	default:
	}
}

func nothingIsLeft(c *crossings) {
	one, k := c.process(nil), c.keys(1)
	has := one.take("x", 0, k[0])
	req := wants("left", k[0])
	req.Enclosing = []string{"left around"}
	got := one.waits(req)
	redistest.Eventually(c.t, 5*time.Second, func() string {
		found := c.publishedFor("left", "left around")
		if len(found) != 2 {
			return fmt.Sprintf("published is %q", found)
		}
		for _, key := range found {
			slot := rediskit.Slot(key)
			if ttl := c.servers[slot*3/rediskit.Slots].Client().PTTL(bg, key).Val(); ttl <= 0 || ttl > time.Minute {
				c.t.Fatalf("%q lives %s", key, ttl)
			}
		}
		return ""
	})
	one.free(has)
	granted(c.t, got, 5*time.Second, "who waited")
	redistest.Eventually(c.t, 3*time.Second, func() string {
		if found := c.publishedFor("left", "left around"); len(found) > 0 {
			return fmt.Sprintf("left is %q", found)
		}
		return ""
	})
}

// statedAgain has a wait stated again all the time, as where connections break.
func statedAgain(c *crossings) {
	one, k := c.process(nil), c.keys(1)
	one.take("x", 0, k[0])
	one.waits(wants("stated", k[0]))
	redistest.Eventually(c.t, 5*time.Second, func() string {
		one.Resync()
		if found := c.publishedFor("stated"); len(found) != 1 {
			return fmt.Sprintf("published is %q", found)
		}
		return ""
	})
}

func nothingToPublish(c *crossings) {
	one, k := c.process(nil), c.keys(2)
	one.take("x", 0, k[1])
	one.waits(wants("execute:lone", k[1]))
	one.waits(wants("*", k[1]))
	one.waits(driver.Request{Keys: k, Owner: "*", TTL: time.Minute}) // it has the first one
	never(c.t, 1500*time.Millisecond, func() string {
		if found := c.publishedFor("execute:lone", "*"); len(found) > 0 {
			return fmt.Sprintf("published is %q", found)
		}
		return ""
	})
}

func foreignHolder(c *crossings) {
	one, two, k := c.process(nil), c.process(nil), c.keys(2)
	a, b := k[0], k[1]
	one.take("cart", 0, a)
	if err := c.client().Set(bg, c.ns+b, "two", 0).Err(); err != nil {
		c.t.Fatal(err)
	}
	first := one.waits(wants("cart", b))
	second := two.waits(wants("two", a))
	never(c.t, 2*time.Second, func() string { return ended(first) + ended(second) })
}

func afterAFlush(c *crossings) {
	one, two, k := c.process(nil), c.process(nil), c.keys(2)
	a, b := k[0], k[1]
	one.take("forgotten", 0, a)
	hasB := two.take("two", 0, b)
	first := one.waits(wants("forgotten", b))
	redistest.Eventually(c.t, 5*time.Second, func() string {
		if len(c.publishedFor("forgotten")) == 0 {
			return "nothing is published"
		}
		return ""
	})
	if n := c.client().Del(bg, c.publishedFor("forgotten")...).Val(); n != 1 {
		c.t.Fatalf("deleted are %d", n)
	}
	second := two.waits(wants("two", a))
	o := asked(c.t, second, 30*time.Second, "the victim")
	sameCircle(c.t, o.err, []driver.Wait{{Owner: "two", Key: a, Holder: "forgotten"}, {Owner: "forgotten", Key: b, Holder: "two"}})
	goesOn(c.t, first, func() { two.free(hasB) })
}
