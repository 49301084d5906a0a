package main

import (
	"context"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLabelsArePrintedWhereThePrinterIs(t *testing.T) {
	if err := run(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestALabelIsPrintedOnceForAKey(t *testing.T) {
	p := &printer{}
	if first := p.print("a", "1"); p.print("a", "1") != first || p.print("b", "2") != "label of 2" || p.printed() != 2 || p.mostAtOnce() != 1 {
		t.Errorf("%+v", p)
	}
}
