package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

func bytesCases() []storeCase {
	return []storeCase{
		{
			name: "NilAndEmptyStayApart",
			rule: "bytes that are nil stay nil, and empty ones stay empty",
			why:  "I1: a value that is encoded as nothing is not the same as no value",
			run:  nilAndEmptyStayApart,
		},
		{
			name: "AnyBytesAreKept",
			rule: "values, cells and messages may hold any bytes",
			why:  "I1: what is kept is encoded by codecs that the store knows nothing of",
			run: func(r *rig) {
				all := make([]byte, 256)
				for i := range all {
					all[i] = byte(i)
				}
				x := r.fresh("x")
				x.Input, x.InputHash, x.Cells = all, slices.Clone(all), []store.Cell{{ID: 9, Data: all}}
				r.create(x)
				w := r.write(r.load(x.Key))
				w.Head.Output, w.Cells = all, []store.Cell{{ID: 10, Data: []byte("\xff\x00\xc3\x28")}}
				got := r.put(w)
				for what, b := range map[string][]byte{
					"input": got.Input, "hash": got.InputHash, "output": got.Output, "created cell": got.Cells[0].Data,
				} {
					if !bytes.Equal(b, all) {
						r.Errorf("the %s is %q, want %q", what, b, all)
					}
				}
				if string(got.Cells[1].Data) != "\xff\x00\xc3\x28" {
					r.Errorf("the written cell is %q", got.Cells[1].Data)
				}
				if err := r.s.Deliver(r.ctx, x.Key, store.Message{ID: string(all), Data: all}); err != nil {
					r.Fatal(err)
				}
				if m := r.load(x.Key).Inbox; len(m) != 1 || m[0].ID != string(all) || !bytes.Equal(m[0].Data, all) {
					r.Errorf("the inbox is %q", m)
				}
			},
		},
		{
			name: "TimesAreKeptToTheNanosecond",
			rule: "times of any century are kept to the nanosecond, and returned in UTC",
			why:  "I8: a time that comes back as another one is slept through, or is over too early",
			run:  timesAreKept,
		},
		{
			name: "LargeCellsAreKept",
			rule: "a cell may have a megabyte, which its first and last byte belong to",
			why:  "I1: the output of a step is a cell",
			run: func(r *rig) {
				big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
				big[0], big[len(big)-1] = 0xff, 0
				x := r.make("x", func(x *store.Snapshot) { x.Cells = []store.Cell{{ID: 1, Data: big}} })
				if !bytes.Equal(x.Cells[0].Data, big) {
					r.Errorf("the created cell is %s, want %s", bytesText(x.Cells[0].Data), bytesText(big))
				}
				other := bytes.Repeat([]byte("\x00\xff"), 1<<19)
				w := r.write(x)
				w.Cells = []store.Cell{{ID: 2, Data: other}}
				got := r.put(w)
				if len(got.Cells) != 2 || !bytes.Equal(got.Cells[0].Data, big) || !bytes.Equal(got.Cells[1].Data, other) {
					r.Errorf("the cells are wrong: %.2000s", text(got))
				}
			},
		},
		{
			name: "ManyCellsAreKeptInOrder",
			rule: "an execution may have thousands of cells, which come in the order of their ids",
			why:  "I1: a loop has cells for each of its items, and is put together in their order",
			run:  manyCellsAreKept,
		},
		{
			name: "WhatIsGivenIsCopied",
			rule: "what is given to the store may be changed after the call",
			why:  "I1: what is kept would change with it",
			run:  whatIsGivenIsCopied,
		},
		{
			name: "WhatIsReturnedIsACopy",
			rule: "what the store returns may be changed",
			why:  "I1: what is kept would change with it",
			run:  whatIsReturnedIsACopy,
		},
	}
}

func nilAndEmptyStayApart(r *rig) {
	want := func(what string, got []byte, isNil bool) {
		r.Helper()
		if len(got) != 0 || (got == nil) != isNil {
			r.Errorf("%s: %#v, nil is wanted: %t", what, got, isNil)
		}
	}
	for _, isNil := range []bool{true, false} {
		var b []byte
		if !isNil {
			b = []byte{}
		}
		x := r.make(fmt.Sprintf("x-%t", isNil), func(x *store.Snapshot) {
			x.Input, x.InputHash, x.Output = b, b, b
			x.Cells = []store.Cell{{ID: 5, Data: b}}
		})
		want("input", x.Input, isNil)
		want("hash", x.InputHash, isNil)
		want("output", x.Output, isNil)
		if err := r.s.Deliver(r.ctx, x.Key, store.Message{ID: "m", Data: b}); err != nil {
			r.Fatal(err)
		}
		w := r.write(x)
		w.Head.Output, w.Cells = b, []store.Cell{{ID: 6, Data: b}}
		x = r.put(w)
		want("written output", x.Output, isNil)
		want("message", x.Inbox[0].Data, isNil)
		cells := 2
		if isNil {
			cells = 0 // they are not there
		}
		if len(x.Cells) != cells {
			r.Fatalf("there are %d cells, want %d: %s", len(x.Cells), cells, text(x))
		}
		for _, c := range x.Cells {
			want(fmt.Sprintf("cell %d", c.ID), c.Data, false)
		}
	}
}

func timesAreKept(r *rig) {
	for i, at := range []time.Time{
		{},
		time.Unix(0, 0),
		time.Unix(0, 1),
		time.Unix(0, -1),
		time.Date(1955, 5, 5, 5, 5, 5, 123_456_789, time.UTC),
		time.Date(2026, 7, 1, 12, 0, 0, 999_999_999, time.FixedZone("somewhere", -5*3600)),
		time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(1<<63 - 1), // what is furthest for a duration
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		time.Now(),
	} {
		x := r.make(fmt.Sprintf("x-%d", i), func(x *store.Snapshot) { x.CreatedAt, x.Deadline = at, at })
		w := r.write(x)
		w.Head.DueAt, w.Head.CancelledAt, w.Head.FinishedAt, w.Head.ForgetAt = at, at, at, at
		x = r.put(w)
		for what, got := range map[string]time.Time{
			"CreatedAt": x.CreatedAt, "Deadline": x.Deadline, "DueAt": x.DueAt, "CancelledAt": x.CancelledAt,
			"FinishedAt": x.FinishedAt, "ForgetAt": x.ForgetAt,
		} {
			if !got.Equal(at) || got.IsZero() != at.IsZero() || got.Location() != time.UTC {
				r.Errorf("%s %s came back as %s", what, at, got)
			}
		}
	}
}

func manyCellsAreKept(r *rig) {
	const many = 3000
	data := func(i, version int) []byte { return fmt.Appendf(nil, "cell %d, version %d", i, version) }
	id := func(i int) store.CellID { return store.CellID(i)<<32 | store.CellID(i%7) }
	x := r.fresh("x")
	x.Cells = nil
	for i := many - 1; i >= 0; i-- { // in no order that is kept by chance
		x.Cells = append(x.Cells, store.Cell{ID: id(i), Data: data(i, 1)})
	}
	r.create(x)
	w := r.write(r.load(x.Key))
	for i := 0; i < many; i += 500 {
		w.Cells = append(w.Cells, store.Cell{ID: id(i), Data: data(i, 2)})
	}
	for i := 1; i < many; i += 500 {
		w.Cells = append(w.Cells, store.Cell{ID: id(i)})
	}
	got := r.put(w)
	var want []store.Cell
	for i := range many {
		switch i % 500 {
		case 0:
			want = append(want, store.Cell{ID: id(i), Data: data(i, 2)})
		case 1:
		default:
			want = append(want, store.Cell{ID: id(i), Data: data(i, 1)})
		}
	}
	if len(got.Cells) != len(want) {
		r.Fatalf("there are %d cells, want %d", len(got.Cells), len(want))
	}
	for i := range want {
		if got.Cells[i].ID != want[i].ID || string(got.Cells[i].Data) != string(want[i].Data) {
			r.Fatalf("cell number %d is %x %q, want %x %q", i, got.Cells[i].ID, got.Cells[i].Data, want[i].ID, want[i].Data)
		}
	}
}

// scribble writes over all memory of an execution that can be written to.
func scribble(x *store.Snapshot) {
	for _, b := range [][]byte{x.Input, x.InputHash, x.Output} {
		scribbleOver(b)
	}
	if x.Parent != nil {
		*x.Parent = store.Parent{RunUID: "!"}
	}
	for i := range x.Cells {
		scribbleOver(x.Cells[i].Data)
		x.Cells[i] = store.Cell{ID: 99, Data: []byte("!")}
	}
	for i := range x.Inbox {
		scribbleOver(x.Inbox[i].Data)
		x.Inbox[i] = store.Message{ID: "!"}
	}
}

func scribbleOver(b []byte) {
	for i := range b[:cap(b)] {
		b[:cap(b)][i] = '!'
	}
}

func whatIsGivenIsCopied(r *rig) {
	x := r.full("x")
	x.Workflow, x.Fingerprint = thePlan.Workflow, thePlan.Fingerprint
	r.create(x)
	want := r.full("x")
	want.RunUID, want.Fingerprint, want.Epoch, want.Revision = x.RunUID, x.Fingerprint, 1, 1
	scribble(x)
	r.same("what was created", r.load(want.Key), want)

	w := r.write(want)
	w.Head.Output, w.Cells, w.Consumed = []byte("written"), []store.Cell{{ID: 3, Data: []byte("three")}}, []string{"b"}
	r.put(w)
	scribbleOver(w.Head.Output)
	scribbleOver(w.Cells[0].Data)
	w.Cells[0].ID, w.Consumed[0] = 4, "a"
	want.Revision, want.Output, want.Inbox = 2, []byte("written"), want.Inbox[1:]
	want.Cells = slices.Insert(want.Cells, 1, store.Cell{ID: 3, Data: []byte("three")})
	r.same("what was written", r.load(want.Key), want)

	m := store.Message{ID: "c", Data: []byte("says c")}
	if err := r.s.Deliver(r.ctx, want.Key, m); err != nil {
		r.Fatal(err)
	}
	scribbleOver(m.Data)
	want.Inbox = append(slices.Clone(want.Inbox), store.Message{ID: "c", Data: []byte("says c")})
	r.same("what was delivered", r.load(want.Key), want)

	c := r.asking(r.me)
	c.Keys = []store.Key{want.Key}
	r.claimOne(c, want.Key)
	c.Keys[0], c.Plans[0] = store.Key{}, store.PlanID{}
	want.Epoch, want.Revision = 2, 3
	r.same("what was claimed", r.load(want.Key), want)
}

func whatIsReturnedIsACopy(r *rig) {
	given := r.full("x")
	given.Fingerprint = thePlan.Fingerprint
	r.create(given)
	want := r.load(given.Key)
	unchanged := func(after string) {
		r.Helper()
		r.same("what is kept after a change of what "+after+" returned", r.load(given.Key), want)
	}
	scribble(r.load(given.Key))
	unchanged("Load")
	existing, err := r.s.Create(r.ctx, r.fresh("x"))
	if err != nil || existing == nil {
		r.Fatal(existing, err)
	}
	scribble(existing)
	unchanged("Create")
	list, err := r.s.Inbox(r.ctx, given.Key)
	if err != nil {
		r.Fatal(err)
	}
	scribble(&store.Snapshot{Inbox: list})
	unchanged("Inbox")
	page, err := r.s.List(r.ctx, store.Query{})
	if err != nil || len(page.Executions) != 1 {
		r.Fatal(page, err)
	}
	scribble(&page.Executions[0])
	unchanged("List")
	c := r.asking(r.me)
	c.Keys = []store.Key{given.Key}
	claimed := r.claimOne(c, given.Key)
	want.Epoch, want.Revision = 2, 2
	scribble(claimed.Snapshot)
	unchanged("Claim")
}
