package store

import "math"

// The numbers of the fields below are part of what is kept: they are never changed
// and never used again.

// number is the one under which a name is written: its place in a list.
func number[T comparable](list []T, v T) uint64 {
	for i, at := range list {
		if at == v {
			return uint64(i)
		}
	}
	return math.MaxUint32 // no reader knows it
}

func named[T any](r *reader, list []T) T { return list[known(r, len(list))] }

// known is a number below the count of those that there are.
func known(r *reader, count int) uint64 {
	n := r.uint()
	if n >= uint64(count) {
		r.fail("field %d has the number %d, which this version does not know", r.field, n)
		return 0
	}
	return n
}

func (p Place) append(b []byte) []byte {
	b = putUint(b, 1, uint64(p.Frame))
	return putUint(b, 2, uint64(p.Node))
}

func readPlace(r *reader) (p Place, err error) {
	for r.next() {
		switch r.field {
		case 1:
			p.Frame = r.frame()
		case 2:
			p.Node = r.count()
		default:
			r.unknown()
		}
	}
	return p, r.err
}

func (h *Hold) append(b []byte) []byte {
	b = putString(b, 1, h.Provider)
	b = putString(b, 2, h.Key)
	b = putString(b, 3, h.Owner)
	b = putUint(b, 4, h.Epoch)
	b = putUint(b, 5, h.Attempt)
	return putUint(b, 6, h.Token)
}

func readHold(r *reader) (h Hold, err error) {
	for r.next() {
		switch r.field {
		case 1:
			h.Provider = r.string()
		case 2:
			h.Key = r.string()
		case 3:
			h.Owner = r.string()
		case 4:
			h.Epoch = r.uint()
		case 5:
			h.Attempt = r.uint()
		case 6:
			h.Token = r.uint()
		default:
			r.unknown()
		}
	}
	return h, r.err
}

func appendHolds(b []byte, field uint64, holds []Hold) []byte {
	for i := range holds {
		b = putNested(b, field, holds[i].append)
	}
	return b
}

// Encode appends the record to b.
func (f *Frame) Encode(b []byte) []byte {
	b = putUint(b, 1, uint64(f.Sequence))
	if f.Parent != (Place{}) {
		b = putNested(b, 2, f.Parent.append)
	}
	b = putUint(b, 3, uint64(f.Branch))
	b = putUint(b, 4, uint64(f.State))
	b = putBytes(b, 5, f.Item)
	b = appendHolds(b, 6, f.Holds)
	if len(b) == 0 {
		b = []byte{} // a cell without data would be deleted
	}
	return b
}

// DecodeFrame is the reverse of [Frame.Encode]. It returns [*RecordError]. The record
// shares memory with the data.
func DecodeFrame(data []byte) (f Frame, err error) {
	r := reader{record: "frame", data: data}
	for r.next() {
		switch r.field {
		case 1:
			f.Sequence = r.count()
		case 2:
			f.Parent, err = readPlace(r.nested("place"))
			r.take(err)
		case 3:
			f.Branch = r.count()
		case 4:
			f.State = FrameState(r.upTo(uint64(FrameUndone)))
		case 5:
			f.Item = r.blob()
		case 6:
			h, err := readHold(r.nested("hold"))
			r.take(err)
			f.Holds = append(f.Holds, h)
		default:
			r.unknown()
		}
	}
	return f, r.err
}

func (p *Progress) append(b []byte) []byte {
	b = putUint(b, 1, uint64(p.State))
	b = putUint(b, 2, uint64(p.Attempts))
	b = putTime(b, 3, p.FirstAt)
	b = putUint(b, 4, uint64(p.Waits))
	b = putTime(b, 5, p.DueAt)
	b = putUint(b, 6, uint64(p.Deaths))
	return putBool(b, 7, p.Suspect)
}

func readProgress(r *reader) (p Progress, err error) {
	for r.next() {
		switch r.field {
		case 1:
			p.State = StepState(known(r, len(stepStates)))
		case 2:
			p.Attempts = r.count()
		case 3:
			p.FirstAt = r.time()
		case 4:
			p.Waits = WaitReason(known(r, len(waitReasons)))
		case 5:
			p.DueAt = r.time()
		case 6:
			p.Deaths = r.count()
		case 7:
			p.Suspect = r.bool()
		default:
			r.unknown()
		}
	}
	return p, r.err
}

// Encode appends the record to b.
func (n *Node) Encode(b []byte) []byte {
	b, at := openNested(b, 1)
	b = closeNested(n.Invoke.append(b), at)
	if n.Compensate != (Progress{}) {
		b, at = openNested(b, 2)
		b = closeNested(n.Compensate.append(b), at)
	}
	b = putUint(b, 3, n.Attempts)
	b = putBool(b, 4, n.Unknown)
	b = putBytes(b, 5, n.Output)
	b = putBytes(b, 6, n.Undo)
	b = putUint(b, 7, uint64(n.First))
	b = putUint(b, 8, uint64(n.Count))
	for _, k := range n.Keys {
		b = putItem(b, 9, k)
	}
	b = putString(b, 10, n.Ticket)
	b = appendHolds(b, 11, n.Holds)
	b = putString(b, 12, n.Child)
	return putUint(b, 13, n.Heard)
}

// DecodeNode is the reverse of [Node.Encode]. It returns [*RecordError]. The record
// shares memory with the data.
func DecodeNode(data []byte) (n Node, err error) {
	r := reader{record: "node", data: data}
	for r.next() {
		switch r.field {
		case 1:
			n.Invoke, err = readProgress(r.nested("progress"))
			r.take(err)
		case 2:
			n.Compensate, err = readProgress(r.nested("progress"))
			r.take(err)
		case 3:
			n.Attempts = r.uint()
		case 4:
			n.Unknown = r.bool()
		case 5:
			n.Output = r.blob()
		case 6:
			n.Undo = r.blob()
		case 7:
			n.First = r.frame()
		case 8:
			n.Count = r.count()
		case 9:
			n.Keys = append(n.Keys, r.string())
		case 10:
			n.Ticket = r.string()
		case 11:
			h, err := readHold(r.nested("hold"))
			r.take(err)
			n.Holds = append(n.Holds, h)
		case 12:
			n.Child = r.string()
		case 13:
			n.Heard = r.uint()
		default:
			r.unknown()
		}
	}
	return n, r.err
}
