package runctx_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/lockstep-dev/lockstep/internal/runctx"
)

// batchHold is freed with others of its provider.
type batchHold struct {
	fakeHold

	calls *[][]string
	err   error
}

func (h *batchHold) FreeBatch(_ context.Context, list []runctx.Hold) ([]bool, error) {
	var keys []string
	freed := make([]bool, len(list))
	for i, other := range list {
		keys = append(keys, other.Record().Key)
		freed[i] = other.Alive()
	}
	*h.calls = append(*h.calls, keys)
	return freed, h.err
}

func TestHoldsOfOneProviderAreFreedInOneCall(t *testing.T) {
	var calls [][]string
	at := func(provider, key string, gone bool, err error) *batchHold {
		return &batchHold{fakeHold{runctx.HoldRecord{LockID: runctx.LockID{Provider: provider, Key: key}}, gone}, &calls, err}
	}
	down := errors.New("down")
	alone := &fakeHold{record: runctx.HoldRecord{LockID: runctx.LockID{Provider: "p", Key: "alone"}}}
	freed, errs := runctx.FreeAll(t.Context(), []runctx.Hold{
		at("p", "a", false, nil), at("q", "b", false, down), alone, at("p", "c", true, nil), at("p", "d", false, nil),
	})
	if want := []bool{true, false, true, false, true}; !slices.Equal(freed, want) {
		t.Errorf("freed %v, want %v", freed, want)
	}
	if want := []error{nil, down, nil, nil, nil}; !slices.Equal(errs, want) {
		t.Errorf("errors %v, want %v", errs, want)
	}
	if len(calls) != 2 || !slices.Equal(calls[0], []string{"a", "c", "d"}) || !slices.Equal(calls[1], []string{"b"}) {
		t.Errorf("calls %v", calls)
	}
}
