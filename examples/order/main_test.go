package main

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestADeclinedOrderGivesItsReservationBack(t *testing.T) {
	t.Setenv("LOCKING_REDIS_URL", redistest.Start(t).URL())
	before := stock.Left()
	receipt, err := place(context.Background(), Order{ID: "good", Card: "4242"})
	if err != nil || receipt.ReservationID != "res-good" || receipt.PaymentID != "pay-good" {
		t.Fatalf("got %+v, %v", receipt, err)
	}
	if _, err := place(context.Background(), Order{ID: "bad", Card: "declined"}); !errors.Is(err, errDeclined) {
		t.Fatalf("got %v", err)
	}
	if left := stock.Left(); left != before-1 {
		t.Fatalf("%d left of %d, after one order that was placed and one that was not", left, before)
	}
}
