package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
)

// Order is what a customer wants.
type Order struct{ ID, Card string }

// Reservation is a piece of stock that is set aside.
type Reservation struct{ ID string }

// Payment is money that was taken.
type Payment struct{ ID string }

// Receipt is what the customer gets.
type Receipt struct{ ReservationID, PaymentID string }

var (
	errDeclined = errors.New("card declined")
	errSoldOut  = errors.New("sold out")
	errStale    = errors.New("a newer holder of the lock was here")
)

// stock stands for a warehouse system. It refuses a write whose token is older
// than one it has seen, and makes one reservation per idempotency key.
var stock = &warehouse{left: 3, made: map[string]Reservation{}}

type warehouse struct {
	mu    sync.Mutex
	left  int
	token locking.Token
	made  map[string]Reservation
	at    string // where it is; tests have many

	changed func() // is told of each change, before it is answered; nil is nobody
}

// Reserve sets one piece aside.
func (w *warehouse) Reserve(ctx context.Context, in Order, key string, token locking.Token) (Reservation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return Reservation{}, err
	}
	if token < w.token {
		return Reservation{}, errStale
	}
	w.token = token
	if r, ok := w.made[key]; ok {
		return r, nil
	}
	if w.left == 0 {
		return Reservation{}, steps.Permanent(errSoldOut)
	}
	w.left--
	w.made[key] = Reservation{ID: "res-" + in.ID}
	w.tell()
	return w.made[key], nil
}

// Cancel undoes a reservation, if there is one of that id, or that was made under the key.
func (w *warehouse) Cancel(_ context.Context, id, key string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, r := range w.made {
		if r.ID == id || k == key {
			delete(w.made, k)
			w.left++
		}
	}
	w.tell()
	return nil
}

func (w *warehouse) tell() {
	if w.changed != nil {
		w.changed()
	}
}

// Left is how many pieces there are.
func (w *warehouse) Left() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.left
}

func doCharge(_ *steps.Context, in Order) (Payment, error) {
	if in.Card == "declined" {
		return Payment{}, steps.Permanent(errDeclined)
	}
	return Payment{ID: "pay-" + in.ID}, nil
}

// refund is also called when the charge failed: there is then nothing to refund.
func refund(ctx *steps.Context, p Payment) error {
	if ctx.Outcome() == steps.Failed {
		return nil
	}
	ctx.Logger().Info("refunded", "payment", p.ID)
	return nil
}

func newReceipt(r Reservation, p Payment) (Receipt, error) {
	if r.ID == "" || p.ID == "" {
		return Receipt{}, fmt.Errorf("a receipt needs a reservation and a payment, got %+v and %+v", r, p)
	}
	return Receipt{ReservationID: r.ID, PaymentID: p.ID}, nil
}
