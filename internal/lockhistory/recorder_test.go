package lockhistory

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// answering is a provider that answers each request alike.
type answering struct {
	driver.Inspector

	grant driver.Grant
	err   error
}

func (p answering) Acquire(context.Context, driver.Request) (driver.Grant, error) {
	return p.grant, p.err
}

func (p answering) Release(context.Context, []driver.Hold) ([]bool, error) {
	return []bool{true, false}, p.err
}

func TestWhatAProcessHasBegunIsKnownWithoutItsEnd(t *testing.T) {
	var said []Op
	r := NewRecorder(3)
	r.Say = func(op Op) { said = append(said, op) }
	c := Caller{answering{err: errors.New("lost")}, r, 0}
	c.Acquire(t.Context(), Acquire, driver.Request{Keys: []string{"a", "b"}, Owner: "o"})
	if len(said) != 4 {
		t.Fatalf("%d sayings", len(said))
	}
	killed := Heard(said[:3]) // before it could say the end of the second
	if n := len(killed.Ops); n != 2 || killed.Ops[0].Return == Never || killed.Ops[1].Return != Never || killed.Ops[1].Outcome != Unknown {
		t.Errorf("got %+v", killed.Ops)
	}
	if h := Heard(said); h.Ops[1].Return == Never || h.Ops[1].Process != 3 || h.Ops[1].Key != "b" || h.Total() != 1 {
		t.Errorf("got %+v", h.Ops)
	}
}

func TestAnswersAreWhatAnswersSay(t *testing.T) {
	hold := driver.Hold{Key: "a", Owner: "o", Token: 7}
	req := driver.Request{Keys: []string{"a"}, Owner: "o"}
	for name, c := range map[string]struct {
		p    answering
		want Outcome
	}{
		"a grant":             {answering{grant: driver.Grant{Holds: []driver.Granted{{Hold: hold, Until: time.Now()}}}}, Yes},
		"another key's":       {answering{grant: driver.Grant{Holds: []driver.Granted{{Hold: driver.Hold{Key: "b", Owner: "o", Token: 7}}}}}, Wrong},
		"another owner's":     {answering{grant: driver.Grant{Holds: []driver.Granted{{Hold: driver.Hold{Key: "a", Owner: "p", Token: 7}}}}}, Wrong},
		"one without a token": {answering{grant: driver.Grant{Holds: []driver.Granted{{Hold: driver.Hold{Key: "a", Owner: "o"}}}}}, Wrong},
		"a busy key":          {answering{err: &driver.BusyError{Key: "a"}}, No},
		"a timeout":           {answering{err: driver.ErrTimeout}, Unknown},
		"an ended context":    {answering{err: context.Canceled}, Unknown},
	} {
		r := NewRecorder(0)
		(&Caller{c.p, r, 0}).Acquire(t.Context(), Try, req)
		if got := r.History().Ops[0]; got.Outcome != c.want || got.Call > got.Return {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	r := NewRecorder(0)
	(&Caller{answering{}, r, 0}).Release(t.Context(), []driver.Hold{hold, {Key: "b"}})
	if ops := r.History().Ops; ops[0].Outcome != Yes || ops[1].Outcome != No {
		t.Errorf("got %+v", ops)
	}
}

func TestTheClockCountsAlikeWhicheverStartedFirst(t *testing.T) {
	a := NewClock()
	<-time.After(20 * time.Millisecond)
	b := NewClock()
	if jumped := a.Jumped(); jumped.Abs() > time.Millisecond {
		t.Skipf("skipped: the clock was set by %s", jumped)
	}
	now := time.Now()
	if d := time.Duration(a.At(now) - b.At(now)); d.Abs() > 20*time.Microsecond {
		t.Errorf("they differ by %s", d)
	}
	if a.At(time.Time{}) != Never {
		t.Error("a hold that does not expire has an end")
	}
}
