package locksteps_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/locking/locksteps"
	"github.com/lockstep-dev/lockstep/store"
)

func TestKeysAreAListOfStringsInJSON(t *testing.T) {
	for want, keys := range map[string]locksteps.Keys{
		`[]`:                               nil,
		`["prod_123"]`:                     {"prod_123"},
		`["b","a","b",""]`:                 {"b", "a", "b", ""},
		`["ä","{\"base64\":\"/w==\"}"]`:    {"ä", `{"base64":"/w=="}`},
		"[\"\ufffd\",\"\\\\ufffd\"]":       {"\ufffd", `\ufffd`},
		`["a",{"base64":"/w=="},"\u0000"]`: {"a", "\xff", "\x00"},
	} {
		if data, err := json.Marshal(keys); err != nil || string(data) != want {
			t.Errorf("%q became %s, %v, want %s", keys, data, err, want)
		}
	}
}

func TestKeysAreReadFromAStringToo(t *testing.T) {
	var in locksteps.AcquireInput
	if err := json.Unmarshal([]byte(`{"Keys": "prod_123"}`), &in); err != nil || !slices.Equal(in.Keys, locksteps.Keys{"prod_123"}) {
		t.Errorf("%q, %v", in.Keys, err)
	}
}

func TestKeysThatAreNoneAreRefusedByName(t *testing.T) {
	for data, says := range map[string]string{
		`5`:                                "a string or a list of strings",
		`{"base64":"/w=="}`:                "a string or a list of strings",
		`["a",5]`:                          "key 2 of 2",
		`["a",null]`:                       "key 2 of 2",
		`["a",{"b":1}]`:                    "key 2 of 2",
		`[["a"]]`:                          "key 1 of 1",
		`[{"base64":"a*b"}]`:               "key 1 of 1",
		`[{"base64":null}]`:                "key 1 of 1",
		`[{"base64":"/w=="},{"base64":7}]`: "key 2 of 2",
	} {
		var keys locksteps.Keys
		err := json.Unmarshal([]byte(data), &keys)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.HasPrefix(err.Error(), "locksteps: ") {
			t.Errorf("%s became %q, %v", data, keys, err)
		}
	}
}

func TestNothingIsReadWhereTheKeysAreNull(t *testing.T) {
	var in locksteps.AcquireInput
	if err := json.Unmarshal([]byte(`{"Keys": null}`), &in); err != nil || len(in.Keys) != 0 {
		t.Errorf("%q, %v", in.Keys, err)
	}
}

func TestReadingKeysLeavesTheTextAsItIs(t *testing.T) {
	const text = `{"Keys":["long enough","b"],"Timeout":5}`
	data := []byte(text)
	if err := json.Unmarshal(data, new(locksteps.AcquireInput)); err != nil || string(data) != text {
		t.Errorf("%s, %v", data, err)
	}
}

func FuzzKeysAreKeptAsTheyAre(f *testing.F) {
	for _, s := range []string{"", "a\xffb", `\ufffd`, "\ufffd", "{}", "\u2028<&>", `{"base64":"/w=="}`} {
		f.Add(s, s+"\xff")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		want := locksteps.Keys{a, b}
		data, err := store.JSON{}.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		var got locksteps.Keys
		if err := (store.JSON{}).Decode(data, &got); err != nil || !slices.Equal(got, want) {
			t.Fatalf("%q became %q by %s, %v", want, got, data, err)
		}
	})
}
