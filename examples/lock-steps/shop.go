package main

import (
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
)

// Order is what a customer has paid, and got back.
type Order struct {
	ID      string
	Paid    int
	Refunds map[string]int // amounts by refund
}

// Refunded is the sum of the refunds.
func (o Order) Refunded() (sum int) {
	for _, amount := range o.Refunds {
		sum += amount
	}
	return sum
}

// Refund is what a clerk asks for.
type Refund struct {
	ID, OrderID string
	Amount      int
	Account     string // "closed" takes no money
}

// Receipt is what the clerk gets.
type Receipt struct {
	RefundID string
	Amount   int
}

var (
	errNothingLeft = errors.New("the order has not that much left to refund")
	errClosed      = errors.New("the account is closed")
	errStale       = errors.New("a newer holder of the lock was here")
)

var shopKey = container.NewKey[*shop]("shop")

// shop stands for a database and a bank. Each call is safe by itself; nothing but
// the lock keeps a read and the write that follows it together.
type shop struct {
	mu     sync.Mutex
	orders map[string]Order
	tokens map[string]locking.Token // the highest one seen
	paid   map[string]int           // by idempotency key

	changed func() // is told of each change, before it is answered; nil is nobody
}

func newShop(o Order) *shop {
	o.Refunds = map[string]int{}
	return &shop{orders: map[string]Order{o.ID: o}, tokens: map[string]locking.Token{}, paid: map[string]int{}}
}

// change reads an order and writes it back as it is then. Between the two halves
// others have their chance.
func (s *shop) change(id string, token locking.Token, edit func(refunds map[string]int)) error {
	o := s.order(id)
	time.Sleep(time.Millisecond) // a book-keeper takes a moment
	edit(o.Refunds)
	if o.Refunded() > o.Paid {
		return steps.Permanent(errNothingLeft)
	}
	return s.save(o, token)
}

func (s *shop) order(id string) Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.orders[id]
	o.Refunds = maps.Clone(o.Refunds)
	return o
}

// save refuses a token that is older than one it has seen.
func (s *shop) save(o Order, token locking.Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if token < s.tokens[o.ID] {
		return errStale
	}
	s.tokens[o.ID], s.orders[o.ID] = token, o
	s.tell()
	return nil
}

// payBack moves money, once per idempotency key.
func (s *shop) payBack(r Refund, key string) error {
	if r.Account == "closed" {
		return errClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paid[key] = r.Amount
	s.tell()
	return nil
}

func (s *shop) tell() {
	if s.changed != nil {
		s.changed()
	}
}

func (s *shop) paidBack() (sum int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, amount := range s.paid {
		sum += amount
	}
	return sum
}
