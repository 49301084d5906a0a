package workflow

import "github.com/lockstep-dev/lockstep/internal/plan"

// Maybe is a value that may not be there: what [When] gives. The zero Maybe is one that
// is not.
//
// On its way between nodes it is encoded as nothing, or as its value alone. As a part
// of something else it is encoded like every struct, by whichever codec there is.
type Maybe[T any] struct {
	// Taken says that there is a value.
	Taken bool
	Value T
}

// Get returns the value, and whether there is one.
func (m Maybe[T]) Get() (T, bool) { return m.Value, m.Taken }

// Or returns the value, or def where there is none.
func (m Maybe[T]) Or(def T) T {
	if m.Taken {
		return m.Value
	}
	return def
}

func (m Maybe[T]) taken() (value any, ok bool) { return m.Value, m.Taken }

func (m *Maybe[T]) take() (into any) {
	m.Taken = true
	return &m.Value
}

// isMaybe says whether T is a Maybe.
func isMaybe[T any]() bool {
	_, ok := any((*T)(nil)).(interface{ take() any })
	return ok
}

// wire encodes values as they are on their way between nodes. Of a Maybe nil says that
// it is not taken, and no bytes say that it has the zero value. Everything else is the
// codec's, nil standing for the zero value.
type wire struct{ codec plan.Codec }

var _ plan.Codec = wire{}

// Encode implements [plan.Codec].
func (w wire) Encode(v any) ([]byte, error) {
	m, ok := v.(interface{ taken() (any, bool) })
	if !ok {
		return w.codec.Encode(v)
	}
	value, ok := m.taken()
	if !ok {
		return nil, nil
	}
	data, err := w.codec.Encode(value)
	if data == nil && err == nil {
		data = []byte{}
	}
	return data, err
}

// Decode implements [plan.Codec].
func (w wire) Decode(data []byte, into any) error {
	if data == nil {
		return nil
	}
	m, ok := into.(interface{ take() any })
	if !ok {
		return w.codec.Decode(data, into)
	}
	if value := m.take(); len(data) > 0 {
		return w.codec.Decode(data, value)
	}
	return nil
}

// encodeValue encodes a value of type T for its way between nodes.
func encodeValue[T any](c plan.Codec, v T) ([]byte, error) {
	if isMaybe[T]() {
		return wire{c}.Encode(v)
	}
	return c.Encode(v)
}

// decodeValue is the reverse of encodeValue.
func decodeValue[T any](c plan.Codec, data []byte) (v T, err error) {
	err = wire{c}.Decode(data, &v)
	return v, err
}
