package lockingtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func exclusionCases() []providerCase {
	return []providerCase{
		{
			name: "GrantAnswersEachKey",
			rule: "a grant has one hold for each key of the request, in its order, with its owner and generation and a token",
			run:  grantAnswersEachKey,
		},
		{
			name: "HeldKeyIsRefused",
			rule: "what one owner holds is not available to another, named or anonymous",
			run: func(r *rig) {
				r.take(ask("holder", "a"))
				r.refuse(ask("other", "a"), driver.ErrBusy)
				r.refuse(ask(driver.Anonymous, "a"), driver.ErrBusy)
				r.wantHeld("holder", "a")
			},
		},
		{
			name: "AnonymousNeverJoins",
			rule: "two anonymous requests exclude each other, whatever their generations",
			run: func(r *rig) {
				r.take(ask(driver.Anonymous, "a"))
				r.refuse(ask(driver.Anonymous, "a"), driver.ErrBusy)
				r.refuse(generation(ask(driver.Anonymous, "a"), 2, 1), driver.ErrBusy)
			},
		},
		{
			name: "OtherKeysAreFree",
			rule: "a lock on one key does not touch another",
			run: func(r *rig) {
				r.take(ask("holder", "a"))
				r.wantFree("b", "aa", "A", "a ")
			},
		},
		{
			name: "NamedOwnersExclude",
			rule: "of many named owners at most one is inside at any moment",
			run: func(r *rig) {
				r.hammer([]driver.Provider{r.p}, func(worker int) string { return fmt.Sprintf("owner-%d", worker) }, nil)
			},
		},
		{
			name: "AnonymousOwnersExclude",
			rule: "of many anonymous callers at most one is inside at any moment",
			run: func(r *rig) {
				r.hammer([]driver.Provider{r.p}, func(int) string { return driver.Anonymous }, nil)
			},
		},
	}
}

func grantAnswersEachKey(r *rig) {
	req := generation(ask("holder", "a", "b", "c"), 3, 4)
	for i, h := range r.take(req) {
		want := driver.Hold{Key: req.Keys[i], Owner: "holder", Generation: req.Generation, Token: h.Token}
		if h.Hold != want || h.Token == 0 {
			r.Errorf("hold %d is %+v, want %+v with a token", i, h.Hold, want)
		}
		if h.Joined {
			r.Errorf("hold %d has joined, but nobody held %q", i, h.Key)
		}
	}
}

const (
	hammerWorkers = 6
	hammerRounds  = 20
)

// hammer lets workers enter and leave one key, again and again, and counts them
// in a way that forgets some when two are inside at once. The workers share out
// the providers. Inside, each shows its hold to look, if there is one.
func (r *rig) hammer(ps []driver.Provider, owner func(worker int) string, look func(driver.Hold) error) {
	r.Helper()
	var wg sync.WaitGroup
	var inside, entered atomic.Int64
	errs := make([]error, hammerWorkers)
	begin := make(chan struct{})
	for w := range hammerWorkers {
		wg.Go(func() {
			<-begin
			for range hammerRounds {
				errs[w] = r.enter(ps[w%len(ps)], owner(w), &inside, &entered, look)
				if errs[w] != nil {
					return
				}
			}
		})
	}
	close(begin)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		r.Fatal(err)
	}
	if got := entered.Load(); got != hammerWorkers*hammerRounds {
		r.Errorf("%d entries were counted, want %d: two were inside at once", got, hammerWorkers*hammerRounds)
	}
}

var (
	errTwoInside = errors.New("two were inside at once")
	errNotFreed  = errors.New("a hold that nobody else knew was not freed")
)

func (r *rig) enter(p driver.Provider, owner string, inside, entered *atomic.Int64, look func(driver.Hold) error) error {
	grant, err := p.Acquire(r.ctx, waiting(ask(owner, "hot"), caseBound*r.patience))
	if err != nil {
		return fmt.Errorf("enter: %w", err)
	}
	if inside.Add(1) != 1 {
		return errTwoInside
	}
	seen := entered.Load()
	yield(5)
	entered.Store(seen + 1)
	if look != nil {
		if err := look(grant.Holds[0].Hold); err != nil {
			return err
		}
	}
	if inside.Add(-1) != 0 {
		return errTwoInside
	}
	return r.giveBack(r.ctx, p, grant)
}

// giveBack is for goroutines of a case.
func (*rig) giveBack(ctx context.Context, p driver.Provider, grant driver.Grant) error {
	holds := make([]driver.Hold, len(grant.Holds))
	for i, h := range grant.Holds {
		holds[i] = h.Hold
	}
	freed, err := p.Release(ctx, holds)
	if err != nil {
		return fmt.Errorf("give back: %w", err)
	}
	for i, f := range freed {
		if !f {
			return fmt.Errorf("%w: %.40q", errNotFreed, holds[i].Key)
		}
	}
	return nil
}
