package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/lockstep-dev/lockstep/store"
)

// onInbox breaks what is read of an inbox, by itself and with its execution.
func onInbox(change func(list []store.Message) []store.Message) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{
			Store: onLoad(func(x *store.Snapshot) { x.Inbox = change(x.Inbox) })(s),
			inbox: func(ctx context.Context, key store.Key) ([]store.Message, error) {
				list, err := s.Inbox(ctx, key)
				return change(list), err
			},
		}
	}
}

func messageMutants() []mutant {
	return []mutant{
		{
			name: "messages are in the order of their names", cases: []string{"DeliveredIsInTheInboxInOrder", "ManyMessagesKeepTheirOrder"},
			wrap: onInbox(func(list []store.Message) []store.Message {
				slices.SortFunc(list, func(a, b store.Message) int { return strings.Compare(a.ID, b.ID) })
				return list
			}),
		},
		{
			name: "an execution comes without its messages", cases: []string{"DeliveredIsInTheInboxInOrder"},
			wrap: onLoad(func(x *store.Snapshot) { x.Inbox = nil }),
		},
		{name: "a repeated delivery is another", cases: []string{"DeliveredTwiceIsStoredOnce", "ManyMessagesKeepTheirOrder"}, wrap: deliverAgain},
		{
			name: "a repeated delivery replaces the first", cases: []string{"DeliveredTwiceIsStoredOnce"},
			wrap: func(s store.Store) store.Store {
				last := map[string][]byte{}
				f := onInbox(func(list []store.Message) []store.Message {
					for i := range list {
						if data, ok := last[list[i].ID]; ok {
							list[i].Data = data
						}
					}
					return list
				})(s).(*faulty)
				f.deliver = func(ctx context.Context, key store.Key, m store.Message) error {
					last[m.ID] = m.Data
					return s.Deliver(ctx, key, m)
				}
				return f
			},
		},
		{
			name: "a repeated delivery comes last", cases: []string{"DeliveredTwiceIsStoredOnce", "ManyMessagesKeepTheirOrder"},
			wrap: func(s store.Store) store.Store {
				turn, n := map[string]int{}, 0
				f := onInbox(func(list []store.Message) []store.Message {
					slices.SortStableFunc(list, func(a, b store.Message) int { return turn[a.ID] - turn[b.ID] })
					return list
				})(s).(*faulty)
				f.deliver = func(ctx context.Context, key store.Key, m store.Message) error {
					n++
					turn[m.ID] = n
					return s.Deliver(ctx, key, m)
				}
				return f
			},
		},
		{
			name: "a delivery is a write", cases: []string{"DeliveryLeavesTheFence"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, deliver: func(ctx context.Context, key store.Key, m store.Message) error {
					err := s.Deliver(ctx, key, m)
					if x, lerr := s.Load(ctx, key); err == nil && lerr == nil {
						_ = one(ctx, s, store.Write{Key: key, Fence: x.Fence, Head: x.Head})
					}
					return err
				}}
			},
		},
		{
			name: "whom a message is for does not matter", cases: []string{"NobodyToDeliverTo"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, deliver: func(ctx context.Context, key store.Key, m store.Message) error {
					if err := s.Deliver(ctx, key, m); !errors.Is(err, store.ErrNotFound) {
						return err
					}
					return nil
				}}
			},
		},
		{
			name: "who is not there has an empty inbox", cases: []string{"NobodyToDeliverTo"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, inbox: func(ctx context.Context, key store.Key) ([]store.Message, error) {
					list, err := s.Inbox(ctx, key)
					if errors.Is(err, store.ErrNotFound) {
						err = nil
					}
					return list, err
				}}
			},
		},
		{
			name: "a message comes before its execution", cases: []string{"NobodyToDeliverTo"},
			wrap: func(s store.Store) store.Store {
				early := map[store.Key]store.Message{}
				return &faulty{
					Store: s,
					deliver: func(ctx context.Context, key store.Key, m store.Message) error {
						err := s.Deliver(ctx, key, m)
						if errors.Is(err, store.ErrNotFound) {
							early[key] = m
						}
						return err
					},
					create: func(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
						existing, err := s.Create(ctx, x)
						if m, ok := early[x.Key]; ok {
							_ = s.Deliver(ctx, x.Key, m)
						}
						return existing, err
					},
				}
			},
		},
		{
			name: "nothing is consumed", cases: []string{"ConsumedIsGone", "RepeatedWriteConsumesNothingNew", "ReadersSeeWholeWrites"},
			wrap: onWrite(func(_ store.Store, w *store.Write) { w.Consumed = nil }),
		},
		{
			name: "what is consumed begins alike", cases: []string{"ConsumedIsGone"},
			wrap: onWrite(func(s store.Store, w *store.Write) {
				list, err := s.Inbox(context.Background(), w.Key)
				if err != nil {
					return
				}
				w.Consumed = slices.Clone(w.Consumed)
				for _, m := range list {
					if slices.ContainsFunc(w.Consumed, func(id string) bool { return strings.HasPrefix(m.ID, id) }) {
						w.Consumed = append(w.Consumed, m.ID)
					}
				}
			}),
		},
		{
			name: "to consume what is not there is refused", cases: []string{"ConsumedIsGone"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, commit: func(ctx context.Context, w store.Write) error {
					list, err := s.Inbox(ctx, w.Key)
					for _, id := range w.Consumed {
						if err == nil && !slices.ContainsFunc(list, func(m store.Message) bool { return m.ID == id }) {
							return &store.FencedError{Key: w.Key, Wrote: w.Fence}
						}
					}
					return one(ctx, s, w)
				}}
			},
		},
		{
			name: "a message is known for ever, to all", cases: []string{"ConsumedMayComeAgain", "RepeatedWriteConsumesNothingNew", "DeliveredTwiceIsStoredOnce"},
			wrap: func(s store.Store) store.Store {
				known := map[string]bool{}
				return &faulty{Store: s, deliver: func(ctx context.Context, key store.Key, m store.Message) error {
					if known[m.ID] {
						return nil
					}
					known[m.ID] = true
					return s.Deliver(ctx, key, m)
				}}
			},
		},
		{
			name: "100 messages are enough", cases: []string{"ManyMessagesKeepTheirOrder", "ManySendersLoseNothing"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, deliver: func(ctx context.Context, key store.Key, m store.Message) error {
					if list, err := s.Inbox(ctx, key); err == nil && len(list) >= 100 {
						return nil
					}
					return s.Deliver(ctx, key, m)
				}}
			},
		},
		{
			name: "one message of fifty is lost", cases: []string{"ManySendersLoseNothing"},
			wrap: func(s store.Store) store.Store {
				lost := counted(50)
				return &faulty{Store: s, deliver: func(ctx context.Context, key store.Key, m store.Message) error {
					if lost() {
						return nil
					}
					return s.Deliver(ctx, key, m)
				}}
			},
		},
		{
			name: "unread is what anybody has", cases: []string{"UnreadAreOwnedWithMessages"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, unread: func(ctx context.Context, _ store.Instance) (keys []store.Key, err error) {
					for _, x := range everything(s) {
						if list, err := s.Inbox(ctx, x.Key); err == nil && len(list) > 0 {
							keys = append(keys, x.Key)
						}
					}
					return keys, nil
				}}
			},
		},
		{
			name: "unread is what an instance owns", cases: []string{"UnreadAreOwnedWithMessages"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, unread: func(_ context.Context, i store.Instance) (keys []store.Key, err error) {
					for _, x := range everything(s) {
						if x.Owner == i {
							keys = append(keys, x.Key)
						}
					}
					return keys, nil
				}}
			},
		},
		{
			name: "nothing is unread", cases: []string{"UnreadAreOwnedWithMessages"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, unread: func(context.Context, store.Instance) ([]store.Key, error) { return nil, nil }}
			},
		},
	}
}
