package workflow_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// slowAnswer is a store that tells the owner of an execution of a message long before
// it answers the sender.
type slowAnswer struct{ *storemem.Store }

func (s *slowAnswer) Deliver(ctx context.Context, k store.Key, m store.Message) error {
	err := s.Store.Deliver(ctx, k, m)
	time.Sleep(time.Second) // virtual
	return err
}

func TestMessageThatItsOwnerHasHeardOfBeforeItsSenderIsConsumedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		w := inTurn(d.async("s", steps.Retry(steps.RetryPolicy{MaxAttempts: 3})))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}, Store: &slowAnswer{storemem.New()}})
		h := begin(t, r, w, "-")
		ref := <-d.refs
		synctest.Wait()
		wants(t, workflow.FailStep(t.Context(), r.Engine, ref, errBoom))
		<-d.refs
		synctest.Wait()
		d.want(t, "start s(-)", "start s(-)") // not a third time
		wants(t, workflow.CompleteStep(t.Context(), r.Engine, ref, "out"))
		if out, err := h.Wait(t.Context()); out != "out" || err != nil {
			t.Error(out, err)
		}
	})
}

func TestSenderIsToldThatAMessageWasOfNoUseHoweverItsOwnerHeardOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		w := inTurn(d.async("s"), body(d.journal, "b", untilEnd))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}, Store: &slowAnswer{storemem.New()}})
		h := begin(t, r, w, "-")
		ref := <-d.refs
		synctest.Wait()
		wants(t, workflow.CompleteStep(t.Context(), r.Engine, ref, "out"))
		if err := workflow.CompleteStep(t.Context(), r.Engine, ref, "again"); !errors.Is(err, workflow.ErrUnfit) {
			t.Error(err)
		}
		wants(t, h.Cancel(t.Context()))
		if _, err := h.Wait(t.Context()); !errors.Is(err, workflow.ErrCancelled) {
			t.Error(err)
		}
	})
}
