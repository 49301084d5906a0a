package locking_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

func TestForceReleasePassesOnWhatItIsToldAndAnswersWhatItIsAnswered(t *testing.T) {
	g := &glass{}
	s := lookInto(t, g)
	longest := strings.Repeat("\xff", locking.MaxReasonBytes)
	for _, c := range []struct {
		want driver.ForceRequest
		opts []locking.ForceOption
	}{
		{driver.ForceRequest{Key: "k\x00", Owner: "*", Token: 7, Reason: "why"}, nil},
		{driver.ForceRequest{Key: "k", Owner: "lockstep:run", Token: 1<<64 - 1, Reason: longest, Now: true}, []locking.ForceOption{locking.Now()}},
		{driver.ForceRequest{Key: "k", Owner: "cart-7", Now: true}, []locking.ForceOption{locking.WithProvider("lp_glass"), locking.Now()}},
	} {
		for _, g.had = range []bool{false, true} {
			had, err := s.ForceRelease(bg, c.want.Key, c.want.Owner, c.want.Token, c.want.Reason, c.opts...)
			if had != g.had || err != nil {
				t.Errorf("got %t, %v", had, err)
			}
			g.wantAsked(t, c.want)
		}
	}
}

func TestAuditPassesOnItsLimitAndTheRecords(t *testing.T) {
	g := &glass{records: []driver.AuditRecord{{ForceRequest: driver.ForceRequest{Key: "k"}, At: time.Unix(1, 0)}}}
	s := lookInto(t, g)
	got, err := s.Audit(bg, 5, locking.WithProvider("lp_glass"))
	if err != nil || !reflect.DeepEqual(got, g.records) {
		t.Errorf("got %+v, %v", got, err)
	}
	g.wantAsked(t, 5)
}
