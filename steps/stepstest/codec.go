package stepstest

import (
	"bytes"
	"encoding/json"
	"errors"
)

// codec is JSON that refuses what it would change, as an engine's does.
type codec struct{}

var errNotUTF8 = errors.New("a string is not valid UTF-8 and would be changed; use []byte for such data")

func (codec) Encode(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	// encoding/json writes the escape for bytes that are not UTF-8 only; a
	// replacement character that was there before is not escaped.
	if bytes.Contains(bytes.ReplaceAll(data, []byte(`\\`), []byte(" ")), []byte(`\ufffd`)) {
		return nil, errNotUTF8
	}
	return data, nil
}

func (codec) Decode(data []byte, into any) error { return json.Unmarshal(data, into) }
