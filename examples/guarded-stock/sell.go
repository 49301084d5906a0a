package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// drainTime is what an interrupted run gives its orders to come to an end.
const drainTime = time.Second

// sell sends the orders through the workflow, a number of them at once, and
// counts what became of them. When ctx ends it stops early and says what is left.
func sell(ctx context.Context, set settings, s shelf, log *slog.Logger, tick func(done int)) (sum tally, err error) {
	life := context.WithoutCancel(ctx)
	cfg := locking.Config{Logger: log}
	if set.redisURL != "" {
		cfg.Providers = []locking.Registration{{
			ID: "locking-redis", IsDefault: true, Provider: lockredis.New(lockredis.Config{RedisURL: set.redisURL}),
		}}
	}
	locks, err := locking.New(life, cfg)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, locks.Close(life)) }()
	c := container.New()
	container.MustRegister(c, locking.ServiceKey, locks)
	container.MustRegister(c, shelfKey, s)
	flow := placeOrder(!set.unguarded)
	engine, err := workflow.NewEngine(workflow.Config{
		Container: c, Store: storemem.New(), Workflows: workflow.Set{flow}, Logger: log,
		CancelGrace: drainTime / 2,
	})
	if err != nil {
		return sum, err
	}
	if err := engine.Start(life); err != nil {
		return sum, err
	}

	sum = newTally()
	numbers := make(chan int)
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range set.workers {
		workers.Go(func() {
			for n := range numbers {
				o := orderNumber(n, set)
				_, err := workflow.Run(life, engine, flow, o, workflow.WithExecutionID(fmt.Sprintf("order-%d", n)))
				mu.Lock()
				sum.count(o, err)
				tick(sum.Done())
				mu.Unlock()
			}
		})
	}
	begun := feed(ctx, set, numbers)
	done := make(chan struct{})
	go func() {
		workers.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	drain := life
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		drain, cancel = context.WithTimeout(life, drainTime)
		defer cancel()
	}
	stopErr := engine.Stop(drain)
	<-done
	sum.Interrupted = ctx.Err() != nil
	sum.NotBegun += set.orders - begun
	if left, ok := errors.AsType[*workflow.UnfinishedError](stopErr); ok {
		for _, x := range left.Executions {
			sum.Unfinished = append(sum.Unfinished, x.ID)
		}
		stopErr = nil
	}
	return sum, stopErr
}

// feed hands out the orders' numbers until they, or ctx, end. It returns how many
// were handed out.
func feed(ctx context.Context, set settings, numbers chan<- int) (begun int) {
	defer close(numbers)
	for i := range set.orders {
		select {
		case numbers <- set.first + i:
			begun++
		case <-ctx.Done():
			return begun
		}
	}
	return begun
}

// orderNumber makes up an order. The refused cards are spread evenly.
func orderNumber(n int, set settings) Order {
	o := Order{Number: n, Product: productName(n % set.products), Card: "good"}
	if (n/set.products*37+11)%100 < set.decline {
		o.Card = "declined"
	}
	return o
}

func runAlone(ctx context.Context, set settings, out io.Writer) (tally, error) {
	log := quietLogger(out)
	set.run = runName()
	var s shelf = newMemoryShelf(set)
	if set.redisURL != "" {
		var err error
		if s, err = openRedisShelf(ctx, set, true); err != nil {
			return tally{}, err
		}
	}
	life := context.WithoutCancel(ctx)
	announce(out, set)
	bar := newProgress(out, set.orders)
	sum, err := sell(ctx, set, s, log, bar.show)
	bar.end()
	if err != nil {
		return sum, errors.Join(err, s.close(life))
	}
	return finishUp(life, set, s, sum)
}

// finishUp reads what is left on the shelf, once everybody is done.
func finishUp(ctx context.Context, set settings, s shelf, sum tally) (tally, error) {
	for i := range set.products {
		left, err := s.read(ctx, productName(i))
		if err != nil {
			return sum, errors.Join(err, s.close(ctx))
		}
		sum.Left += left
	}
	return sum, s.close(ctx)
}
