package store

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

var errNotText = errors.New("a string is not valid UTF-8 and would be changed; use []byte for such data")

// EncodeError is the error of a value that a codec cannot keep as it is.
type EncodeError struct {
	Type  string
	Codec string
	// Field leads to what is wrong from the value on, such as ".Lines[3].Note"; empty
	// when it is the value itself, or is not known.
	Field string
	Err   error
}

func (e *EncodeError) Error() string {
	return fmt.Sprintf("store: encode %s%s as %s: %v", e.Type, e.Field, e.Codec, e.Err)
}

// Unwrap returns the codec's own error.
func (e *EncodeError) Unwrap() error { return e.Err }

// culprit leads to what JSON cannot hold in a value. It is looked for once something is
// known to be wrong.
func culprit(v any) string {
	path, _ := search(reflect.ValueOf(v), 0)
	return path
}

// deepest bounds the search in values that contain themselves.
const deepest = 100

// search answers whether something is wrong at the value or below it, and where.
func search(v reflect.Value, depth int) (path string, found bool) {
	if !v.IsValid() || depth > deepest || encodesItself(v) {
		return "", false
	}
	switch v.Kind() {
	case reflect.String:
		return "", !utf8.ValidString(v.String())
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return "", true
	case reflect.Float32, reflect.Float64:
		return "", math.IsNaN(v.Float()) || math.IsInf(v.Float(), 0)
	case reflect.Pointer, reflect.Interface:
		return search(v.Elem(), depth+1)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if path, found = search(v.Index(i), depth+1); found {
				return "[" + strconv.Itoa(i) + "]" + path, true
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			at := fmt.Sprintf("[%q]", fmt.Sprint(it.Key()))
			if _, found = search(it.Key(), depth+1); found {
				return at, true
			}
			if path, found = search(it.Value(), depth+1); found {
				return at + path, true
			}
		}
	case reflect.Struct:
		return searchFields(v, depth)
	}
	return "", false
}

// encodesItself says that the type has an encoding of its own, which nobody can look
// into.
func encodesItself(v reflect.Value) bool {
	return v.Type().Implements(reflect.TypeFor[json.Marshaler]()) || v.Type().Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

func searchFields(v reflect.Value, depth int) (path string, found bool) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() && !f.Anonymous || strings.HasPrefix(f.Tag.Get("json")+",", "-,") {
			continue
		}
		if path, found = search(v.Field(i), depth+1); found {
			return "." + f.Name + path, true
		}
	}
	return "", false
}
