package main

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestADeclinedOrderGivesItsReservationBack(t *testing.T) {
	t.Setenv("LOCKING_REDIS_URL", redistest.Start(t).URL())
	ctx := context.Background()
	engine, stop, err := wire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for name, run := range map[string]func(Order) (Receipt, error){
		"placed":  func(o Order) (Receipt, error) { return place(ctx, engine, o) },
		"guarded": func(o Order) (Receipt, error) { return workflow.Run(ctx, engine, GuardOrder, o) },
	} {
		before := stock.Left()
		receipt, err := run(Order{ID: "good-" + name, Card: "4242"})
		if err != nil || receipt.ReservationID != "res-good-"+name || receipt.PaymentID != "pay-good-"+name {
			t.Fatalf("%s: got %+v, %v", name, receipt, err)
		}
		if _, err := run(Order{ID: "bad-" + name, Card: "declined"}); !errors.Is(err, errDeclined) {
			t.Fatalf("%s: got %v", name, err)
		}
		if left := stock.Left(); left != before-1 {
			t.Fatalf("%s: %d left of %d, after one order that was placed and one that was not", name, left, before)
		}
	}
}
