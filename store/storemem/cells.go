package storemem

import "github.com/lockstep-dev/lockstep/store"

// few is up to how many things are found by looking at each; more have an index.
const few = 16

// cells are those of an execution, in any order.
type cells struct {
	list []store.Cell
	at   map[store.CellID]int // nil while there are few
}

func (c *cells) find(id store.CellID) (at int, ok bool) {
	if c.at != nil {
		at, ok = c.at[id]
		return at, ok
	}
	for i := range c.list {
		if c.list[i].ID == id {
			return i, true
		}
	}
	return 0, false
}

// put replaces a cell, or deletes it when it has no data.
func (c *cells) put(cell store.Cell) {
	at, ok := c.find(cell.ID)
	switch {
	case cell.Data == nil && ok:
		c.delete(at)
	case cell.Data == nil:
	case ok:
		c.list[at] = cell
	default:
		c.add(cell)
	}
}

func (c *cells) add(cell store.Cell) {
	c.list = append(c.list, cell)
	switch n := len(c.list); {
	case c.at != nil:
		c.at[cell.ID] = n - 1
	case n > few:
		c.at = make(map[store.CellID]int, 4*few)
		for i := range c.list {
			c.at[c.list[i].ID] = i
		}
	}
}

// delete puts the last cell in the place of the one that goes.
func (c *cells) delete(at int) {
	last := len(c.list) - 1
	if c.at != nil {
		c.at[c.list[last].ID] = at
		delete(c.at, c.list[at].ID)
	}
	c.list[at] = c.list[last]
	c.list[last] = store.Cell{}
	c.list = c.list[:last]
}
