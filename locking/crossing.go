package locking

import (
	"slices"
	"strings"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// crossing is what is on its way for an owner and a key: requests, and releases
// that such a request may cross with. It is kept while there is any.
type crossing struct {
	requests, releases int32
	// gone is the highest token whose release has been answered. Tokens rise, so a
	// request that was on its way by then, and is answered with this one or a lower
	// one, has joined what is not there any more.
	gone driver.Token
	// freeing has the tokens whose releases are not answered.
	freeing []freeing
	// revoked has the tokens that were taken by force before the answer to the
	// request that they were granted to was here.
	revoked []driver.Token
}

// freeing is a token that a release has been sent for.
type freeing struct {
	token driver.Token
	asked chan struct{} // closes with the answer; nil: nobody waits for that
}

// answered is a release whose answer is here.
var answered = func() chan struct{} {
	ch := make(chan struct{})
	close(ch)
	return ch
}()

// joins says that two requests of the owner may share a hold.
func joins(owner string) bool {
	return owner != driver.Anonymous && !strings.HasPrefix(owner, jobOwnerPrefix)
}

// answerOf returns nil for a token that is not given up; for one that is, a channel
// that closes when the release has been answered.
func (c *crossing) answerOf(token driver.Token) <-chan struct{} {
	if token <= c.gone {
		return answered
	}
	for i := range c.freeing {
		if f := &c.freeing[i]; f.token == token {
			if f.asked == nil {
				f.asked = make(chan struct{})
			}
			return f.asked
		}
	}
	return nil
}

func (c *crossing) wasRevoked(token driver.Token) bool { return slices.Contains(c.revoked, token) }

// expect announces a request, so that releases know that it may cross them. What it is
// granted may be older than what is lost sight of from now on.
func (hs *holds) expect(a *ask) error {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.closed {
		return ErrClosed
	}
	for _, k := range a.req.Keys {
		at := slot{a.req.Owner, k}
		c := hs.crossings[at]
		c.requests++
		hs.crossings[at] = c
	}
	a.sight = hs.sight
	return nil
}

// settle takes the announcement back.
func (hs *holds) settle(req *driver.Request) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, k := range req.Keys {
		at := slot{req.Owner, k}
		c := hs.crossings[at]
		c.requests--
		hs.keepCrossing(at, c)
	}
}

// keepCrossing requires mu.
func (hs *holds) keepCrossing(at slot, c crossing) {
	if c.requests == 0 {
		c.revoked = nil
	}
	if c.requests == 0 && c.releases == 0 {
		delete(hs.crossings, at)
		return
	}
	hs.crossings[at] = c
}

// releasing notes that a hold is about to be released: until the answer is here,
// and for requests that are on their way by then, its token is given up. It
// requires mu.
func (hs *holds) releasing(h *hold) {
	if !joins(h.record.Owner) {
		return
	}
	at := slotOf(&h.record)
	c := hs.crossings[at]
	c.releases++
	c.freeing = append(c.freeing, freeing{token: h.record.Token})
	hs.crossings[at] = c
}

// released notes the answer. After an error the token is not given up: the lock may
// stand, and be joined. It requires mu.
func (hs *holds) released(h *hold, err error) {
	if !joins(h.record.Owner) {
		return
	}
	at := slotOf(&h.record)
	c := hs.crossings[at]
	c.releases--
	i := slices.IndexFunc(c.freeing, func(f freeing) bool { return f.token == h.record.Token })
	if asked := c.freeing[i].asked; asked != nil {
		close(asked)
	}
	c.freeing = slices.Delete(c.freeing, i, i+1)
	if err == nil {
		c.gone = max(c.gone, h.record.Token)
	}
	hs.keepCrossing(at, c)
}
