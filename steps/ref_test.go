package steps_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
)

func TestRefNamesTheStepOfTheExecution(t *testing.T) {
	var got []steps.Ref
	s := steps.NewAsync[string, int]("s", func(ctx *steps.Context, _ string) error {
		r := ctx.Ref()
		got = append(got, r)
		r.Items[0] = 99 // it is the caller's own
		got = append(got, ctx.Ref())
		return nil
	})
	ctx := runctx.WithAttempt(context.Background(), &runctx.Attempt{Workflow: "w", ExecutionID: "x", Step: "r/s", Items: []int{3, 0}})
	definition(t, s).Invoke(ctx, store.JSON{}, []byte(`""`))
	if want := (steps.Ref{Workflow: "w", ExecutionID: "x", Step: "r/s", Items: []int{3, 0}}); !reflect.DeepEqual(got[1], want) {
		t.Errorf("%+v", got)
	}
}

func TestRefIsReadBackFromItsTextWhateverItHolds(t *testing.T) {
	word := regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	seen := map[string]steps.Ref{}
	for _, r := range []steps.Ref{
		{},
		{Workflow: "w", ExecutionID: "x", Step: "s"},
		{Workflow: "wx", ExecutionID: "", Step: "s"},
		{Workflow: "w", ExecutionID: "xs", Step: ""},
		{Workflow: "w", ExecutionID: "x", Step: "s", Items: []int{0}},
		{Workflow: "w", ExecutionID: "x", Step: "s", Items: []int{0, 0}},
		{Workflow: "w", ExecutionID: "x", Step: "s", Items: []int{1 << 30, 7}},
		{Workflow: "a:b{c}", ExecutionID: "\xff\x00\n", Step: strings.Repeat("é", 500)},
	} {
		text := r.String()
		if other, taken := seen[text]; taken || !word.MatchString(text) {
			t.Errorf("%+v is %q, as is %+v", r, text, other)
		}
		seen[text] = r
		if back, err := steps.ParseRef(text); err != nil || !reflect.DeepEqual(back, r) {
			t.Errorf("%+v became %+v, %v", r, back, err)
		}
	}
}

func TestTextThatIsNoRefIsRefused(t *testing.T) {
	whole := steps.Ref{Workflow: "w", ExecutionID: "x", Step: "s"}.String()
	list := []string{"", "!", whole + "=", whole + "\n", " " + whole, "Ag", "AQ", "AQ8", "AQD_____DwAA", "AQAAAIA", "AQAAAP____8P", "AYAAAAA"}
	for i := 1; i < len(whole); i++ {
		list = append(list, whole[:i])
	}
	for _, text := range list {
		if r, err := steps.ParseRef(text); !errors.Is(err, steps.ErrRef) || r.Workflow != "" || r.Items != nil {
			t.Errorf("%q is %+v, %v", text, r, err)
		}
	}
}

func FuzzRef(f *testing.F) {
	f.Add("w", "x", "s", 1, "AQA")
	f.Fuzz(func(t *testing.T, workflow, id, step string, item int, text string) {
		r := steps.Ref{Workflow: workflow, ExecutionID: id, Step: step, Items: []int{item & (1<<31 - 1)}}
		back, err := steps.ParseRef(r.String())
		if err != nil || back.Workflow != workflow || back.ExecutionID != id || back.Step != step || !slices.Equal(back.Items, r.Items) {
			t.Errorf("%+v became %+v, %v", r, back, err)
		}
		if r, err := steps.ParseRef(text); err == nil && r.String() != text {
			t.Errorf("%q and %q are both %+v", text, r.String(), r)
		}
	})
}

func TestLoggerTellsTheItemOfALoop(t *testing.T) {
	for want, items := range map[string][]int{`items="[3 0]"`: {3, 0}, "": nil} {
		var out bytes.Buffer
		s := steps.New("s", func(ctx *steps.Context, in string) (string, error) { ctx.Logger().Info("hello"); return in, nil })
		ctx := runctx.WithAttempt(context.Background(), &runctx.Attempt{Items: items, Logger: slog.New(slog.NewTextHandler(&out, nil))})
		definition(t, s).Invoke(ctx, store.JSON{}, []byte(`""`))
		if !strings.Contains(out.String(), want) || strings.Contains(out.String(), "items") != (want != "") {
			t.Errorf("%q, want %q", out.String(), want)
		}
	}
}
