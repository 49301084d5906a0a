package store_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

type note struct {
	Text string
	Skip chan int `json:"-"`
	When time.Time
}

func TestJSONNamesTheFieldThatItCannotKeep(t *testing.T) {
	for _, c := range []struct {
		field string
		value any
	}{
		{"", "\xff"},
		{".Text", note{Text: "\xff", Skip: make(chan int)}},
		{".Text", &note{Text: "\xff"}},
		{"[1].Text", []note{{}, {Text: "\xff"}}},
		{`["a"].Text`, map[string]*note{"a": {Text: "\xff"}}},
		{`["\xff"]`, map[string]int{"\xff": 1}},
		{".Inner.Any[2]", struct{ Inner struct{ Any any } }{struct{ Any any }{[]any{1, "b", "\xff"}}}},
		{".Done", struct{ Done func() }{func() {}}},
		{".Rate", struct{ Rate float64 }{math.NaN()}},
	} {
		_, err := store.JSON{}.Encode(c.value)
		e, ok := errors.AsType[*store.EncodeError](err)
		if !ok || e.Field != c.field || e.Type == "" {
			t.Errorf("%#v: %v, want field %s", c.value, err, c.field)
		}
	}
}

// ring contains itself.
type ring struct {
	Next *ring
	Text string
}

func TestJSONNamesNoFieldWhereItFindsNone(t *testing.T) {
	r := &ring{}
	r.Next = r
	_, err := store.JSON{}.Encode(r)
	if e, ok := errors.AsType[*store.EncodeError](err); !ok || e.Field != "" {
		t.Error(err)
	}
}
