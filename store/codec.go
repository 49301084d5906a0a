package store

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Codec turns values into the bytes that are kept. It may be called
// concurrently, and must give equal bytes for equal values.
type Codec interface {
	// Name is kept beside what the codec wrote.
	Name() string
	Encode(v any) ([]byte, error)
	Decode(data []byte, into any) error
}

// JSON is the codec that is used unless another is named. It refuses strings
// that JSON cannot hold, where encoding/json would change them.
type JSON struct{}

var _ Codec = JSON{}

// Name implements [Codec].
func (JSON) Name() string { return "json" }

// Encode implements [Codec].
func (JSON) Encode(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("store: encode %T as JSON: %w", v, err)
	}
	if replaced(data) {
		return nil, fmt.Errorf("store: encode %T as JSON: a string is not valid UTF-8 and would be changed; use []byte for such data", v)
	}
	return data, nil
}

// Decode implements [Codec].
func (JSON) Decode(data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("store: decode JSON into %T: %w", into, err)
	}
	return nil
}

// replaced finds the escape that encoding/json writes in place of bytes that are
// not UTF-8. A replacement character that was there before is not escaped.
func replaced(data []byte) bool {
	mark := []byte(`\ufffd`)
	for at := 0; ; {
		i := bytes.Index(data[at:], mark)
		if i < 0 {
			return false
		}
		at += i
		slashes := 0
		for j := at - 1; j >= 0 && data[j] == '\\'; j-- {
			slashes++
		}
		if slashes%2 == 0 {
			return true
		}
		at++
	}
}
