package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// shelf is where the stock is: it can be read and written, and nothing else. To
// take a piece means to read, and to write one less. It knows the keys that it was
// written under.
type shelf interface {
	read(ctx context.Context, product string) (int, error)
	write(ctx context.Context, product string, left int, key string) error
	written(ctx context.Context, key string) (bool, error)
	close(ctx context.Context) error
}

// yield is what comes between the two halves: anything may happen meanwhile.
func yield() {
	runtime.Gosched()
	time.Sleep(500 * time.Microsecond) // a warehouse takes its time
}

// change takes pieces off the shelf, or puts them back when n is negative; once under one
// key. It answers false when there are not enough.
func change(ctx context.Context, s shelf, product string, n int, key string) (bool, error) {
	if again, err := s.written(ctx, key); again || err != nil {
		return again, err // by a process that has died since
	}
	left, err := s.read(ctx, product)
	if err != nil || left < n {
		return false, err
	}
	yield()
	return true, s.write(ctx, product, left-n, key)
}

func productName(i int) string { return "prod_" + strconv.Itoa(123+i) }

// memoryShelf is one process's own.
type memoryShelf struct {
	mu   sync.Mutex
	left map[string]int
	keys map[string]bool
}

func newMemoryShelf(set settings) *memoryShelf {
	s := &memoryShelf{left: map[string]int{}, keys: map[string]bool{}}
	for i := range set.products {
		s.left[productName(i)] = set.stock
	}
	return s
}

func (s *memoryShelf) read(_ context.Context, product string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left[product], nil
}

func (s *memoryShelf) write(_ context.Context, product string, left int, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left[product], s.keys[key] = left, true
	return nil
}

func (s *memoryShelf) written(_ context.Context, key string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[key], nil
}

func (s *memoryShelf) close(context.Context) error { return nil }

// redisShelf is shared by the processes of a run.
type redisShelf struct {
	client *redis.Client
	run    string
	keys   []string
	owner  bool // made the stock, and takes it away again
}

func openRedisShelf(ctx context.Context, set settings, owner bool) (*redisShelf, error) {
	opts, err := redis.ParseURL(set.redisURL)
	if err != nil {
		return nil, errors.New("LOCKING_REDIS_URL is no Redis URL; the usual local one is redis://localhost:6379")
	}
	s := &redisShelf{client: redis.NewClient(opts), run: set.run, owner: owner}
	for i := range set.products {
		s.keys = append(s.keys, s.key(productName(i)))
	}
	if !owner {
		return s, nil
	}
	for _, k := range s.keys {
		if err := s.client.Set(ctx, k, set.stock, time.Hour).Err(); err != nil {
			return nil, errors.Join(fmt.Errorf("put the stock into Redis: %w", err), s.client.Close())
		}
	}
	return s, nil
}

func (s *redisShelf) key(product string) string { return "guarded-stock:" + s.run + ":" + product }

func (s *redisShelf) read(ctx context.Context, product string) (int, error) {
	n, err := s.client.Get(ctx, s.key(product)).Int()
	if err != nil {
		return 0, fmt.Errorf("read the stock of %s: %w", product, err)
	}
	return n, nil
}

func (s *redisShelf) write(ctx context.Context, product string, left int, key string) error {
	_, err := s.client.TxPipelined(ctx, func(p redis.Pipeliner) error { // both or none
		p.Set(ctx, s.key(product), left, time.Hour)
		p.HSet(ctx, s.key("written"), key, 1)
		p.Expire(ctx, s.key("written"), time.Hour)
		return nil
	})
	if err != nil {
		return fmt.Errorf("write the stock of %s: %w", product, err)
	}
	return nil
}

func (s *redisShelf) written(ctx context.Context, key string) (bool, error) {
	is, err := s.client.HExists(ctx, s.key("written"), key).Result()
	if err != nil {
		return false, fmt.Errorf("look whether %s was done: %w", key, err)
	}
	return is, nil
}

func (s *redisShelf) close(ctx context.Context) error {
	var err error
	if s.owner {
		err = s.client.Del(ctx, append(s.keys, s.key("written"))...).Err()
	}
	return errors.Join(err, s.client.Close())
}
