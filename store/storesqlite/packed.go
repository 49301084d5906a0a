package storesqlite

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/lockstep-dev/lockstep/store"
)

// packed are the cells that stand in the row of their execution, so that a write is one
// statement: all of them in most executions. What finds no room there is in the table of
// cells.
//
// Invariants:
//  1. No cell is in both.
//  2. There is none in the table as long as packed does not say so. Once it does, no cell
//     is packed that is not there already: it might be in the table.
//
// The first byte tells whether there are cells in the table. For each cell follow its id,
// the length of its data, both as uvarints, and its data. An execution of the first layout
// has nothing: its cells are in the table.
type packed []byte

// mostPacked is how many bytes they take at most. Each write to the execution has them
// written again.
const mostPacked = 512

const (
	packedAll  = 0 // there are no others
	packedSome = 1 // there may be cells in the table
)

func newPacked() packed { return packed{packedAll} }

// all says that there are no cells in the table.
func (p packed) all() bool { return len(p) > 0 && p[0] == packedAll }

// next reads the cell at a place that [packed.check] has passed, and returns where the
// next one is.
func (p packed) next(at int) (id store.CellID, data []byte, end int) {
	n, size := binary.Uvarint(p[at:])
	at += size
	length, size := binary.Uvarint(p[at:])
	at += size
	end = at + int(length)
	return store.CellID(n), p[at:end:end], end
}

// check returns an error when they are not as they were written.
func (p packed) check(path string) error {
	ok := len(p) == 0 || p[0] <= packedSome
	for rest := p[min(1, len(p)):]; ok && len(rest) > 0; {
		_, n := binary.Uvarint(rest)
		length, m := binary.Uvarint(rest[max(n, 0):])
		if ok = n > 0 && m > 0 && length <= uint64(len(rest)-n-m); ok {
			rest = rest[n+m+int(length):]
		}
	}
	if !ok {
		return &FileError{Path: path, Doing: "read", Err: fmt.Errorf("%w: the cells of an execution are not as they were written", ErrDamaged)}
	}
	return nil
}

// cells returns them, with copies of their data.
func (p packed) cells() []store.Cell {
	var list []store.Cell
	for at := 1; at < len(p); {
		id, data, end := p.next(at)
		list = append(list, store.Cell{ID: id, Data: append([]byte{}, data...)})
		at = end
	}
	return list
}

// find returns where a cell begins and ends; both are the end of all when it is not there.
func (p packed) find(id store.CellID) (begin, end int) {
	for begin = 1; begin < len(p); begin = end {
		var found store.CellID
		if found, _, end = p.next(begin); found == id {
			return begin, end
		}
	}
	return len(p), len(p)
}

// pack changes cells where they are packed, and returns those that the table is to have
// changed: what has no data is to be deleted there.
func (p *packed) pack(cells []store.Cell) (rest []store.Cell) {
	for _, c := range cells {
		begin, end := p.find(c.ID)
		there := begin < end
		switch {
		case c.Data == nil && (there || p.all()):
			*p = slices.Delete(*p, begin, end)
		case c.Data != nil && (there || p.all()) && p.replace(begin, end, c):
		default:
			*p = slices.Delete(*p, begin, end)
			p.spill()
			rest = append(rest, c)
		}
	}
	return rest
}

// replace puts a cell in the place of what is there, if there is room.
func (p *packed) replace(begin, end int, c store.Cell) bool {
	var head [2 * binary.MaxVarintLen64]byte
	h := binary.AppendUvarint(head[:0], uint64(c.ID))
	h = binary.AppendUvarint(h, uint64(len(c.Data)))
	if len(*p)-(end-begin)+len(h)+len(c.Data) > mostPacked {
		return false
	}
	*p = slices.Insert(slices.Replace(*p, begin, end, h...), begin+len(h), c.Data...)
	return true
}

func (p *packed) spill() {
	if len(*p) == 0 {
		*p = append(*p, packedSome)
	}
	(*p)[0] = packedSome
}
