package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNoMoreIsRefundedThanWasPaidAndTheBooksAgreeWithTheBank(t *testing.T) {
	t.Run("memory", func(t *testing.T) { refunds(t, "") })
	t.Run("redis", func(t *testing.T) { refunds(t, redistest.Start(t).URL()) })
}

func refunds(t *testing.T, redisURL string) {
	t.Helper()
	var out bytes.Buffer
	order, err := run(context.Background(), &out, redisURL)
	if err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if paid, undone := strings.Count(text, ": paid back 30\n"), strings.Count(text, ": undone\n"); paid != 3 || undone != 3 || order.Refunded() != 90 {
		t.Errorf("%d paid back, %d undone:\n%s", paid, undone, text)
	}
	if !strings.Contains(text, "r2: undone") || !strings.HasSuffix(text, "order_1: 100 paid, 90 booked as refunded, 90 paid back\n") {
		t.Error(text)
	}
}
