package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
)

// faulty is a store of which some calls are broken; the others are passed on.
type faulty struct {
	store.Store

	describe  func() store.Info
	create    func(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error)
	commit    func(ctx context.Context, w store.Write) error // each write of a batch
	batch     func(ctx context.Context, writes []store.Write) []error
	claim     func(ctx context.Context, c store.Claim) ([]store.Claimed, error)
	heartbeat func(ctx context.Context, i store.Instance, lease time.Duration) error
	release   func(ctx context.Context, i store.Instance, held []store.Held) error
	end       func(ctx context.Context, i store.Instance) error
	deliver   func(ctx context.Context, key store.Key, m store.Message) error
	inbox     func(ctx context.Context, key store.Key) ([]store.Message, error)
	unread    func(ctx context.Context, i store.Instance) ([]store.Key, error)
	load      func(ctx context.Context, key store.Key) (*store.Snapshot, error)
	list      func(ctx context.Context, q store.Query) (store.Page, error)
	watch     func(ctx context.Context, i store.Instance, tell func(store.Notice)) error
	forget    func(ctx context.Context, key store.Key, runUID string) error
	close     func(ctx context.Context) error
	pause     func(ctx context.Context, queue string, paused bool) error
	queues    func(ctx context.Context) ([]store.QueueState, error)
	take      func(ctx context.Context, t store.Take) ([]store.Taken, time.Duration, error)
	endTask   func(ctx context.Context, i store.Instance, t store.TaskHeld, m store.Message) error
	putBack   func(ctx context.Context, i store.Instance, tasks []store.TaskHeld) error
}

func (f *faulty) Describe() store.Info {
	if f.describe != nil {
		return f.describe()
	}
	return f.Store.Describe()
}

func (f *faulty) Create(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
	if f.create != nil {
		return f.create(ctx, x)
	}
	return f.Store.Create(ctx, x)
}

func (f *faulty) Commit(ctx context.Context, writes []store.Write) []error {
	switch {
	case f.batch != nil:
		return f.batch(ctx, writes)
	case f.commit == nil:
		return f.Store.Commit(ctx, writes)
	}
	errs := make([]error, len(writes))
	for i, w := range writes {
		errs[i] = f.commit(ctx, w)
	}
	return errs
}

func (f *faulty) Claim(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
	if f.claim != nil {
		return f.claim(ctx, c)
	}
	return f.Store.Claim(ctx, c)
}

func (f *faulty) Heartbeat(ctx context.Context, i store.Instance, lease time.Duration) error {
	if f.heartbeat != nil {
		return f.heartbeat(ctx, i, lease)
	}
	return f.Store.Heartbeat(ctx, i, lease)
}

func (f *faulty) Release(ctx context.Context, i store.Instance, held []store.Held) error {
	if f.release != nil {
		return f.release(ctx, i, held)
	}
	return f.Store.Release(ctx, i, held)
}

func (f *faulty) End(ctx context.Context, i store.Instance) error {
	if f.end != nil {
		return f.end(ctx, i)
	}
	return f.Store.End(ctx, i)
}

func (f *faulty) Deliver(ctx context.Context, key store.Key, m store.Message) error {
	if f.deliver != nil {
		return f.deliver(ctx, key, m)
	}
	return f.Store.Deliver(ctx, key, m)
}

func (f *faulty) Inbox(ctx context.Context, key store.Key) ([]store.Message, error) {
	if f.inbox != nil {
		return f.inbox(ctx, key)
	}
	return f.Store.Inbox(ctx, key)
}

func (f *faulty) Unread(ctx context.Context, i store.Instance) ([]store.Key, error) {
	if f.unread != nil {
		return f.unread(ctx, i)
	}
	return f.Store.Unread(ctx, i)
}

func (f *faulty) Load(ctx context.Context, key store.Key) (*store.Snapshot, error) {
	if f.load != nil {
		return f.load(ctx, key)
	}
	return f.Store.Load(ctx, key)
}

func (f *faulty) List(ctx context.Context, q store.Query) (store.Page, error) {
	if f.list != nil {
		return f.list(ctx, q)
	}
	return f.Store.List(ctx, q)
}

func (f *faulty) Watch(ctx context.Context, i store.Instance, tell func(store.Notice)) error {
	if f.watch != nil {
		return f.watch(ctx, i, tell)
	}
	return f.Store.Watch(ctx, i, tell)
}

func (f *faulty) Forget(ctx context.Context, key store.Key, runUID string) error {
	if f.forget != nil {
		return f.forget(ctx, key, runUID)
	}
	return f.Store.Forget(ctx, key, runUID)
}

func (f *faulty) Close(ctx context.Context) error {
	if f.close != nil {
		return f.close(ctx)
	}
	return f.Store.Close(ctx)
}

func (f *faulty) Take(ctx context.Context, t store.Take) ([]store.Taken, time.Duration, error) {
	if f.take != nil {
		return f.take(ctx, t)
	}
	return tasksOf(f.Store).Take(ctx, t)
}

func (f *faulty) Finish(ctx context.Context, i store.Instance, t store.TaskHeld, m store.Message) error {
	if f.endTask != nil {
		return f.endTask(ctx, i, t, m)
	}
	return tasksOf(f.Store).Finish(ctx, i, t, m)
}

func (f *faulty) PutBack(ctx context.Context, i store.Instance, tasks []store.TaskHeld) error {
	if f.putBack != nil {
		return f.putBack(ctx, i, tasks)
	}
	return tasksOf(f.Store).PutBack(ctx, i, tasks)
}

func (f *faulty) Pause(ctx context.Context, queue string, paused bool) error {
	if f.pause != nil {
		return f.pause(ctx, queue, paused)
	}
	return tasksOf(f.Store).Pause(ctx, queue, paused)
}

func (f *faulty) Queues(ctx context.Context) ([]store.QueueState, error) {
	if f.queues != nil {
		return f.queues(ctx)
	}
	return tasksOf(f.Store).Queues(ctx)
}

// claimedToLast is a store in memory that says of itself that it is shared and durable,
// so that the cases for such stores can be shown to notice what they are there for.
type claimedToLast struct{ store.TaskQueue }

func (s claimedToLast) Describe() store.Info {
	info := s.TaskQueue.Describe()
	info.Shared, info.Durable = true, true
	return info
}

// keptOpen is another handle on a store: its end is not that of the store.
type keptOpen struct{ store.TaskQueue }

func (keptOpen) Close(context.Context) error { return nil }

// inMemory is a subject whose store is broken in one way.
func inMemory(wrap func(store.Store) store.Store) Subject {
	return Subject{
		New:     func(testing.TB) store.Store { return wrap(claimedToLast{storemem.New()}) },
		Another: func(_ testing.TB, s store.Store) store.Store { return keptOpen{tasksOf(s)} },
		Reopen:  func(_ testing.TB, s store.Store) store.Store { return keptOpen{tasksOf(s)} },
		Bubble:  true,
		// It is spent on nearly every mutant.
		patience: 3 * time.Second,
	}
}

// one makes one write.
func one(ctx context.Context, s store.Store, w store.Write) error {
	return s.Commit(ctx, []store.Write{w})[0]
}

// force makes a write under whatever fence stands.
func force(ctx context.Context, s store.Store, w store.Write) error {
	for {
		err := one(ctx, s, w)
		fenced, ok := errors.AsType[*store.FencedError](err)
		if !ok || fenced.Found.Owner.None() {
			return err
		}
		w.Fence = fenced.Found
	}
}

// onCreate breaks what is created.
func onCreate(change func(x *store.Snapshot)) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{Store: s, create: func(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
			given := *x
			change(&given)
			return s.Create(ctx, &given)
		}}
	}
}

// onWrite breaks what is written.
func onWrite(change func(s store.Store, w *store.Write)) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{Store: s, commit: func(ctx context.Context, w store.Write) error {
			change(s, &w)
			return one(ctx, s, w)
		}}
	}
}

// onHead breaks the heads of what is created and written.
func onHead(change func(h *store.Head)) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return onCreate(func(x *store.Snapshot) { change(&x.Head) })(onWrite(func(_ store.Store, w *store.Write) { change(&w.Head) })(s))
	}
}

// onClaim breaks what is asked for.
func onClaim(change func(s store.Store, c *store.Claim)) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{Store: s, claim: func(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
			change(s, &c)
			return s.Claim(ctx, c)
		}}
	}
}

// onClaimed breaks what is answered.
func onClaimed(change func(s store.Store, c store.Claim, list []store.Claimed) []store.Claimed) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{Store: s, claim: func(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
			list, err := s.Claim(ctx, c)
			return change(s, c, list), err
		}}
	}
}

// onLoad breaks what is loaded.
func onLoad(change func(x *store.Snapshot)) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{Store: s, load: func(ctx context.Context, key store.Key) (*store.Snapshot, error) {
			x, err := s.Load(ctx, key)
			if err == nil {
				change(x)
			}
			return x, err
		}}
	}
}

// onNotice leaves out what is told.
func onNotice(pass func(n store.Notice) bool) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{Store: s, watch: func(ctx context.Context, i store.Instance, tell func(store.Notice)) error {
			return s.Watch(ctx, i, func(n store.Notice) {
				if pass(n) {
					tell(n)
				}
			})
		}}
	}
}

// everything returns all executions.
func everything(s store.Store) []store.Snapshot {
	page, err := s.List(context.Background(), store.Query{Limit: 10_000})
	if err != nil {
		return nil
	}
	return page.Executions
}

// letAllGo releases executions, whoever has them.
func letAllGo(s store.Store, list []store.Snapshot) {
	for _, x := range list {
		_ = s.Release(context.Background(), x.Owner, []store.Held{{Key: x.Key, Epoch: x.Epoch}})
	}
}
