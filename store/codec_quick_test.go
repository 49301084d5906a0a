package store

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"
)

// same compares a value, and the bytes as if they were an encoding, with package json.
func same(t *testing.T, n int, text string, data []byte) {
	t.Helper()
	for _, v := range []any{n, text} {
		got, quick := quickEncode(v)
		if want, err := json.Marshal(v); quick && (err != nil || !bytes.Equal(got, want)) {
			t.Errorf("%#v is %q, package json makes %q of it, %v", v, got, want, err)
		}
	}
	var number, wantNumber int
	if err := json.Unmarshal(data, &wantNumber); quickDecode(data, &number) && (err != nil || number != wantNumber) {
		t.Errorf("%q is %d, for package json %d, %v", data, number, wantNumber, err)
	}
	var str, wantStr string
	if err := json.Unmarshal(data, &wantStr); quickDecode(data, &str) && (err != nil || str != wantStr) {
		t.Errorf("%q is %q, for package json %q, %v", data, str, wantStr, err)
	}
}

func FuzzQuickWaysOfTheCodecAreThoseOfPackageJSON(f *testing.F) {
	for _, data := range []string{
		"0", "-0", "00", "01", "-1", "-", "", " 1", "1 ", "1.0", "1e3", "+1", "999999999", "999999999999999999", "9223372036854775807", "9223372036854775808",
		`""`, `"`, `"a"`, `"a"b"`, `"a\"b"`, `"<&>"`, "\"\x1f\"", "\"\x7f\"", "\"\xff\"", `"é"`, "null", "true", "[1]", `"~ "`,
	} {
		f.Add(1, data, []byte(data))
	}
	for _, text := range []string{"a<b", "a>b", "a&b", "\"", "\\", "\t", "\x7f", "é", "~ "} {
		f.Add(-1, text, []byte(text))
	}
	f.Add(math.MinInt, "\u2028", []byte("\"\u2028\""))
	f.Add(math.MaxInt, "a\xffb", []byte(`"\ufffd"`))
	f.Fuzz(same)
}

// A way that is never taken is not quick.
func TestNumbersAndIDsTakeTheQuickWay(t *testing.T) {
	for _, want := range []int{0, -42, math.MaxInt32 / 10} {
		data, quick := quickEncode(want)
		var got int
		if !quick || !quickDecode(data, &got) || got != want {
			t.Errorf("%d became %q, and %d of that", want, data, got)
		}
	}
	for _, want := range []string{"", "prod_123", "01980b2e-7c1f-7000-8000-000000000000"} {
		data, quick := quickEncode(want)
		var got string
		if !quick || !quickDecode(data, &got) || got != want {
			t.Errorf("%q became %q, and %q of that", want, data, got)
		}
	}
	if quickDecode([]byte("1"), (*int)(nil)) || quickDecode([]byte(`"a"`), (*string)(nil)) {
		t.Error("something was decoded into nothing")
	}
}
