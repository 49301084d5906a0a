package store

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Codec turns values into the bytes that are kept. It may be called
// concurrently, and must give equal bytes for equal values, unless it is a
// [CanonicalCodec].
type Codec interface {
	// Name is kept beside what the codec wrote. An execution is gone on with by an
	// engine whose codec has the same name.
	Name() string
	Encode(v any) ([]byte, error)
	Decode(data []byte, into any) error
}

// CanonicalCodec is a [Codec] that may give different bytes for equal values, such as
// one that encrypts.
type CanonicalCodec interface {
	Codec
	// Canonical gives equal bytes for equal values. They are not kept: a keyed hash of
	// them tells whether an execution that is begun again has the same input.
	Canonical(v any) ([]byte, error)
}

// JSON is the codec that is used unless another is named. It refuses strings
// that JSON cannot hold, where encoding/json would change them.
type JSON struct{}

var _ Codec = JSON{}

// Name implements [Codec].
func (JSON) Name() string { return "json" }

// Encode implements [Codec]. It returns [*EncodeError].
func (JSON) Encode(v any) ([]byte, error) {
	if data, ok := quickEncode(v); ok {
		return data, nil
	}
	data, err := json.Marshal(v)
	if err == nil && !replaced(data) {
		return data, nil
	}
	e := &EncodeError{Type: fmt.Sprintf("%T", v), Codec: "JSON", Err: err}
	if e.Field = culprit(v); err == nil {
		e.Err = errNotText
	}
	return nil, e
}

// Decode implements [Codec].
func (JSON) Decode(data []byte, into any) error {
	if quickDecode(data, into) {
		return nil
	}
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
