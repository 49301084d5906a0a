package steps

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrRef is returned for a text that is no [Ref].
var ErrRef = errors.New("steps: not a reference to a step")

// Ref names a step of an execution for the world outside: whoever has it can tell
// how an asynchronous step has ended. It is not a secret, and proves nothing.
type Ref struct {
	Workflow    string
	ExecutionID string
	// Step is the step's path in its workflow.
	Step string
	// Items say which item of each loop around the step it is about, from the outermost
	// on; nil outside loops.
	Items []int
}

// refVersion begins every reference. Whatever changes what follows takes another.
const refVersion = 1

// String returns the reference as one word of letters, digits, "-" and "_", whatever
// bytes its parts hold. Nothing outside should read meaning from it; [ParseRef] is
// its reverse.
func (r Ref) String() string {
	b := []byte{refVersion}
	for _, part := range []string{r.Workflow, r.ExecutionID, r.Step} {
		b = append(binary.AppendUvarint(b, uint64(len(part))), part...)
	}
	for _, i := range r.Items {
		b = binary.AppendUvarint(b, uint64(i))
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseRef reads what [Ref.String] has written. It returns an error that matches
// [ErrRef] for anything else.
func ParseRef(text string) (Ref, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return Ref{}, fmt.Errorf("%w: %w", ErrRef, err)
	}
	if len(b) == 0 || b[0] != refVersion {
		return Ref{}, fmt.Errorf("%w: it does not begin as one", ErrRef)
	}
	var r Ref
	b = b[1:]
	for _, part := range []*string{&r.Workflow, &r.ExecutionID, &r.Step} {
		n, ok := takeNumber(&b)
		if !ok || n > len(b) {
			return Ref{}, fmt.Errorf("%w: it is cut off", ErrRef)
		}
		*part, b = string(b[:n]), b[n:]
	}
	for len(b) > 0 {
		i, ok := takeNumber(&b)
		if !ok {
			return Ref{}, fmt.Errorf("%w: it is cut off", ErrRef)
		}
		r.Items = append(r.Items, i)
	}
	if r.String() != text {
		return Ref{}, fmt.Errorf("%w: it is not written as one", ErrRef)
	}
	return r, nil
}

func takeNumber(b *[]byte) (int, bool) {
	n, size := binary.Uvarint(*b)
	if size <= 0 || n > math.MaxInt32 {
		return 0, false
	}
	*b = (*b)[size:]
	return int(n), true
}

// Ref names this step of this execution for the world outside, such as a callback of
// an asynchronous step. It is equal for all attempts.
func (c *Context) Ref() Ref {
	return Ref{
		Workflow: c.attempt.Workflow, ExecutionID: c.attempt.ExecutionID,
		Step: c.attempt.Step, Items: slices.Clone(c.attempt.Items),
	}
}
