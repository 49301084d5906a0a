package locksteps

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// Keys names what is to be locked: locking.Keys("prod_123"), or any []string. The
// order means nothing, and each key counts once. A key may hold any bytes; no keys
// at all make the step do nothing.
//
// In JSON, Keys is a list of strings. A key that is not UTF-8 is written as
// {"base64": "..."} in it, and a single string is read as a list of one.
type Keys []string

// binaryKey is a key that a JSON string would change.
type binaryKey struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON implements [json.Marshaler].
func (k Keys) MarshalJSON() ([]byte, error) {
	list := make([]any, len(k))
	for i, key := range k {
		if utf8.ValidString(key) {
			list[i] = key
		} else {
			list[i] = binaryKey{[]byte(key)}
		}
	}
	return json.Marshal(list)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (k *Keys) UnmarshalJSON(data []byte) error {
	var list []json.RawMessage
	if isJSONString(data) {
		list = append(list, data)
	} else if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("locksteps: keys are a string or a list of strings: %w", err)
	}
	keys := make(Keys, len(list))
	for i, raw := range list {
		key, err := parseKey(raw)
		if err != nil {
			return fmt.Errorf("locksteps: key %d of %d: %w", i+1, len(list), err)
		}
		keys[i] = key
	}
	*k = keys
	return nil
}

func isJSONString(data []byte) bool { return bytes.HasPrefix(data, []byte(`"`)) }

func parseKey(raw json.RawMessage) (string, error) {
	if isJSONString(raw) {
		var key string
		err := json.Unmarshal(raw, &key)
		return key, err
	}
	var key binaryKey
	if err := json.Unmarshal(raw, &key); err != nil {
		return "", err
	}
	if key.Base64 == nil {
		return "", fmt.Errorf(`%.64s is neither a string nor {"base64": "..."}`, raw)
	}
	return string(key.Base64), nil
}
