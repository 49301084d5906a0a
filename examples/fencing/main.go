// Fencing shows what a lock alone cannot do: keep out a holder that was paused past
// the end of its lock, and does not know it. Its late write is refused by the
// fencing token. Then an operator looks who has the lock, and takes it by force.
//
//	LOCKING_REDIS_URL=redis://localhost:6379 go run ./examples/fencing
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

func main() {
	if err := run(context.Background(), os.Getenv("LOCKING_REDIS_URL"), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fencing:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url string, out io.Writer) error {
	locks, err := locking.New(ctx, locking.Config{Providers: []locking.Registration{
		{ID: "locking-redis", Provider: lockredis.New(lockredis.Config{RedisURL: url})},
	}})
	if err != nil {
		return err
	}
	defer locks.Close(ctx)
	opts, err := redis.ParseURL(url)
	if err != nil {
		return err
	}
	client := redis.NewClient(opts)
	defer client.Close()

	w := &warehouse{client: client, fence: lockredis.Fence{Client: client, Retention: 24 * time.Hour}}
	if err := w.open(ctx, locks, 10); err != nil {
		return err
	}
	if err := pausedHolder(ctx, locks, w, out); err != nil {
		return err
	}
	return operator(ctx, locks, out)
}

// pausedHolder has two holders, one after the other, and the first one come back.
func pausedHolder(ctx context.Context, locks *locking.Service, w *warehouse, out io.Writer) error {
	paused, err := locks.Acquire(ctx, locking.Keys(product), locking.WithOwner("paused"), locking.Expire(100*time.Millisecond))
	if err != nil {
		return err
	}
	// Here the first one is stopped for longer than its lock lives.
	next, err := locks.Acquire(ctx, locking.Keys(product), locking.WithOwner("next"))
	if err != nil {
		return err
	}
	defer next.Close()
	left, err := w.sell(next.Context(), next.Token(product), 1)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "the next holder sells one: %d left\n", left)
	// It goes on with what it was about to do. Its lock's context has ended, but a
	// write that was on its way does not know of that.
	_, err = w.sell(ctx, paused.Token(product), 5)
	if !errors.Is(err, lockredis.ErrStaleToken) {
		return fmt.Errorf("the paused holder was not refused: %w", err)
	}
	fmt.Fprintln(out, "the paused holder is refused")
	if _, err := takeOne(ctx, w, next.Token(product)); err != nil {
		return err
	}
	return nil
}

// operator looks who has the lock, and takes it from a holder that is gone.
func operator(ctx context.Context, locks *locking.Service, out io.Writer) error {
	if _, err := locks.Acquire(ctx, locking.Keys(product), locking.WithOwner("gone")); err != nil {
		return err
	}
	// snippet: inspect
	state, err := locks.Inspect(ctx, "prod_123")
	if err != nil {
		return err
	}
	if state.Held {
		fmt.Fprintf(out, "%s is held by %s, %d wait\n", state.Key, state.Owner, state.Waiting)
	}
	for _, w := range state.Waiters { // the first ten, in their order
		fmt.Fprintf(out, "%s has waited for %q for %s\n", w.Owner, w.Keys, w.Waited)
	}
	// snippet: end

	// snippet: list
	for lock, err := range locks.List(ctx, locking.IncludeForeign()) {
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %s, foreign: %t\n", lock.Key, lock.Owner, lock.Foreign)
	}
	// snippet: end

	// snippet: force
	had, err := locks.ForceRelease(ctx, state.Key, state.Owner, state.Token, "its host has burnt down", locking.Now())
	if err != nil {
		return err
	}
	if !had {
		fmt.Fprintln(out, "somebody else has it by now: look again")
	}
	records, err := locks.Audit(ctx, 10) // the newest first
	if err != nil {
		return err
	}
	for _, r := range records {
		fmt.Fprintf(out, "%s was taken from %s: %s\n", r.Key, r.Owner, r.Reason)
	}
	// snippet: end
	return nil
}
