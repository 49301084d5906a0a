package workflow_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// refused wants that a run fails before anything runs, or is kept.
func refused[In any](t *testing.T, in In, cfg workflow.Config, opts ...workflow.RunOption) error {
	t.Helper()
	ran := false
	s := steps.New("s", func(*steps.Context, In) (string, error) { ran = true; return "", nil })
	w := workflow.New("w", func(b *workflow.Builder, in workflow.Value[In]) workflow.Value[string] { return workflow.Do(b, s, in) })
	cfg.Workflows = workflow.Set{w}
	r := start(t, cfg)
	_, err := workflow.Run(t.Context(), r.Engine, w, in, opts...)
	if err == nil || ran || r.store.Len() != 0 {
		t.Errorf("error %v, ran %v, %d kept", err, ran, r.store.Len())
	}
	return err
}

func TestRefusedUnregisteredWorkflow(t *testing.T) {
	r := start(t, workflow.Config{Workflows: workflow.Set{inTurn()}})
	other := workflow.New("other", func(_ *workflow.Builder, in workflow.Value[string]) workflow.Value[string] { return in })
	_, err := workflow.Run(t.Context(), r.Engine, other, "-")
	e, ok := errors.AsType[*workflow.NotRegisteredError](err)
	if !ok || !errors.Is(err, workflow.ErrNotRegistered) || e.Workflow != "other" || e.Differs || len(e.Known) != 1 || e.Known[0] != "w" {
		t.Error(err)
	}
}

func TestRefusedWorkflowOfTheSameNameWithAnotherDefinition(t *testing.T) {
	var j journal
	r := start(t, workflow.Config{Workflows: workflow.Set{inTurn(doing(&j, "a"))}})
	_, err := workflow.Run(t.Context(), r.Engine, inTurn(doing(&j, "b")), "-")
	if e, ok := errors.AsType[*workflow.NotRegisteredError](err); !ok || !e.Differs {
		t.Error(err)
	}
	j.want(t)
}

func TestWorkflowOfTheSameDefinitionIsTheSame(t *testing.T) {
	var j journal
	r := start(t, workflow.Config{Workflows: workflow.Set{inTurn(doing(&j, "a"))}})
	if out, err := workflow.Run(t.Context(), r.Engine, inTurn(doing(&j, "a")), "-"); out != "-a" || err != nil {
		t.Error(out, err)
	}
}

func TestRefusedNilWorkflow(t *testing.T) {
	r := start(t, workflow.Config{})
	var none *workflow.Workflow[string, string]
	if _, err := workflow.Run(t.Context(), r.Engine, none, "-"); !errors.Is(err, workflow.ErrNotRegistered) {
		t.Error(err)
	}
	if _, err := workflow.Run(t.Context(), r.Engine, &workflow.Workflow[string, string]{}, "-"); !errors.Is(err, workflow.ErrNotRegistered) {
		t.Error(err)
	}
}

func TestRefusedEmptyID(t *testing.T) {
	err := refused(t, "-", workflow.Config{}, workflow.WithExecutionID(""))
	if e, ok := errors.AsType[*workflow.ConfigError](err); !ok || e.Field != "execution id" {
		t.Error(err)
	}
}

func TestRefusedIDOfAMebibyteWithoutRepeatingIt(t *testing.T) {
	err := refused(t, "-", workflow.Config{}, workflow.WithExecutionID(strings.Repeat("x", 1<<20)))
	e, ok := errors.AsType[*workflow.LimitError](err)
	if !ok || !errors.Is(err, workflow.ErrTooLarge) || e.Bytes != 1<<20 || e.Limit != workflow.DefaultMaxIDBytes || len(err.Error()) > 200 {
		t.Errorf("%.300v", err)
	}
}

func TestIDUpToTheLimitIsTaken(t *testing.T) {
	if _, _, err := runs(t, inTurn(), workflow.WithExecutionID(strings.Repeat("x", workflow.DefaultMaxIDBytes))); err != nil {
		t.Error(err)
	}
}

func TestRefusedInputOverTheLimit(t *testing.T) {
	err := refused(t, "123456789", workflow.Config{MaxInputBytes: 10}) // with its quotes: 11 bytes
	if e, ok := errors.AsType[*workflow.LimitError](err); !ok || e.Bytes != 11 || e.Limit != 10 || e.Field != "MaxInputBytes" {
		t.Error(err)
	}
}

func TestRefusedInputThatDoesNotEncode(t *testing.T) {
	unsupported := refused(t, make(chan int), workflow.Config{})
	if _, ok := errors.AsType[*json.UnsupportedTypeError](unsupported); !ok {
		t.Error("chan:", unsupported)
	}
	nan := refused(t, math.NaN(), workflow.Config{})
	if _, ok := errors.AsType[*json.UnsupportedValueError](nan); !ok {
		t.Error("NaN:", nan)
	}
	if err := refused(t, "a\xffb", workflow.Config{}); !strings.Contains(err.Error(), "UTF-8") {
		t.Error("invalid UTF-8:", err)
	}
	if err := refused(t, map[string]string{"k": "a\xffb"}, workflow.Config{}); !strings.Contains(err.Error(), "UTF-8") {
		t.Error("invalid UTF-8 within:", err)
	}
}

func TestRefusedByAnEngineThatWasNotStarted(t *testing.T) {
	var j journal
	w := inTurn(doing(&j, "a"))
	st := storemem.New()
	e, err := workflow.NewEngine(workflow.Config{Store: st, Workflows: workflow.Set{w}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := workflow.Run(t.Context(), e, w, "-"); !errors.Is(err, workflow.ErrNotRunning) || st.Len() != 0 {
		t.Error(err)
	}
	j.want(t)
	if err := e.Stop(t.Context()); err != nil {
		t.Error("stop of an engine that was not started:", err)
	}
}

func TestEngineIsStartedOnce(t *testing.T) {
	r := start(t, workflow.Config{})
	if err := r.Start(t.Context()); err == nil {
		t.Error("started twice")
	}
}

func TestConfigThatCannotBeIsNamed(t *testing.T) {
	var none *workflow.Workflow[string, string]
	for field, cfg := range map[string]workflow.Config{
		"Store":         {},
		"Workflows[0]":  {Store: storemem.New(), Workflows: workflow.Set{nil}},
		"Workflows[1]":  {Store: storemem.New(), Workflows: workflow.Set{inTurn(), none}},
		"Workflows[2]":  {Store: storemem.New(), Workflows: workflow.Set{inTurn(), numbered("x"), inTurn()}},
		"LockLease":     {Store: storemem.New(), LockLease: -time.Second},
		"CancelGrace":   {Store: storemem.New(), CancelGrace: -time.Second},
		"Retention":     {Store: storemem.New(), Retention: -time.Second},
		"MaxInputBytes": {Store: storemem.New(), MaxInputBytes: -1},
		"MaxIDBytes":    {Store: storemem.New(), MaxIDBytes: -1},
		"MaxUnfetched":  {Store: storemem.New(), MaxUnfetched: -1},
		"MaxClaimed":    {Store: storemem.New(), MaxClaimed: -1},
	} {
		_, err := workflow.NewEngine(cfg)
		if e, ok := errors.AsType[*workflow.ConfigError](err); !ok || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// numbered is a workflow of that name without steps.
func numbered(name string) *workflow.Workflow[string, string] {
	return workflow.New(name, func(_ *workflow.Builder, in workflow.Value[string]) workflow.Value[string] { return in })
}
