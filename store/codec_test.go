package store_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestJSONRefusesTextThatIsNotUTF8(t *testing.T) {
	for _, v := range []any{
		"\xff", "a\xffb", "\xed\xa0\x80", "\\\xff", "\\\\\xff", map[string]string{"k": "\xff"}, map[string]int{"\xff": 1},
		[]any{1, []string{"ok", "\xc3"}}, struct{ A string }{"\xff"}, "\\ufffd and \xff",
	} {
		if data, err := (store.JSON{}).Encode(v); err == nil || !strings.Contains(err.Error(), "UTF-8") {
			t.Errorf("%q became %s, %v", v, data, err)
		}
	}
}

func TestJSONKeepsTextAsItIs(t *testing.T) {
	for _, text := range []string{
		"", "\ufffd", "a\ufffdb", `\ufffd`, `\\ufffd`, `\\\ufffd`, `"\ufffd"`, `\uFFFD`, "\u2028", "<&>", "\x00", "\\", `ufffd`, "\ufffd\\ufffd",
	} {
		data, err := (store.JSON{}).Encode(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		var back string
		if err := (store.JSON{}).Decode(data, &back); err != nil || back != text {
			t.Errorf("%q became %q, %v", text, back, err)
		}
	}
}

func TestJSONKeepsAnyBytes(t *testing.T) {
	want := []byte("a\xff\x00b")
	data, err := store.JSON{}.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	var back []byte
	if err := (store.JSON{}).Decode(data, &back); err != nil || string(back) != string(want) {
		t.Errorf("%q, %v", back, err)
	}
}

func TestJSONNamesTheTypeThatItCannotEncodeOrDecode(t *testing.T) {
	if _, err := (store.JSON{}).Encode(make(chan int)); err == nil || !strings.Contains(err.Error(), "chan int") {
		t.Error(err)
	}
	var n int
	if err := (store.JSON{}).Decode([]byte(`"x"`), &n); err == nil || !strings.Contains(err.Error(), "int") {
		t.Error(err)
	}
}

func FuzzJSONNeverChangesAString(f *testing.F) {
	for _, s := range []string{"", "a\xffb", `\ufffd`, "\ufffd", `\\ufffd`, "\\\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		data, err := (store.JSON{}).Encode(text)
		if err != nil {
			if strings.ToValidUTF8(text, "") == text {
				t.Fatalf("%q was refused: %v", text, err)
			}
			return
		}
		var back string
		if err := (store.JSON{}).Decode(data, &back); err != nil || back != text {
			t.Fatalf("%q became %q, %v", text, back, err)
		}
	})
}

func TestOnlyDoneRevertedAndFailedAreFinished(t *testing.T) {
	for state, want := range map[store.ExecutionState]bool{
		store.NotStarted: false, store.Invoking: false, store.WaitingToCompensate: false, store.Compensating: false,
		store.Done: true, store.Reverted: true, store.Failed: true,
	} {
		if state.Finished() != want {
			t.Error(state)
		}
	}
}
