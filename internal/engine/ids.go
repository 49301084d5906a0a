package engine

import (
	"bufio"
	"crypto/rand"
	"io"
	"sync"

	"github.com/google/uuid"
)

// ids makes the ids of executions. What is random in them is asked for from the system for
// several at once.
type ids struct{ random sync.Pool }

// idsAtOnce is how many there is something random for in one go.
const idsAtOnce = 32

func (i *ids) next() (uuid.UUID, error) {
	r, ok := i.random.Get().(*bufio.Reader)
	if !ok {
		r = bufio.NewReaderSize(rand.Reader, idsAtOnce*len(uuid.UUID{}))
	}
	defer i.random.Put(r)
	return uuid.NewV7FromReader(io.Reader(r))
}
