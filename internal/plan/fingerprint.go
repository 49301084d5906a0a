package plan

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"reflect"
	"strconv"
)

// fingerprintFormat is part of every fingerprint: a change of what it covers
// must not make old and new ones look alike.
const fingerprintFormat = "lockstep plan 2"

// fingerprint hashes what an execution depends on. Every part is preceded by its
// length, so that no two plans run together into the same bytes.
func fingerprint(p *Plan) string {
	w := digest{sha256.New()}
	w.text(fingerprintFormat)
	w.text(p.Name)
	w.text(p.InType)
	w.text(p.OutType)
	w.number(len(p.Sequences))
	for i := range p.Sequences {
		q := &p.Sequences[i]
		w.number(q.Owner)
		w.ref(q.Output)
		w.number(len(q.Nodes))
		for _, n := range q.Nodes {
			w.number(n)
		}
	}
	w.number(len(p.Nodes))
	for i := range p.Nodes {
		w.node(&p.Nodes[i])
	}
	return hex.EncodeToString(w.Sum(nil))
}

func (d digest) node(n *Node) {
	d.text(string(n.Kind))
	d.text(n.Path)
	d.text(n.OutType)
	d.number(len(n.Inputs))
	for _, ref := range n.Inputs {
		d.ref(ref)
	}
	d.number(len(n.Branches))
	for _, s := range n.Branches {
		d.number(s)
	}
	if n.Call != nil {
		d.text(n.Call.Workflow)
	}
	if n.Step == nil {
		return
	}
	d.text(n.Step.InType)
	d.text(n.Step.OutType)
	d.text(n.Step.UndoType)
	if n.Step.Asynchronous {
		d.text("asynchronous")
	}
}

type digest struct{ hash.Hash }

func (d digest) text(s string) {
	d.number(len(s))
	_, _ = d.Write([]byte(s)) // never fails, as hash.Hash says
}

func (d digest) number(n int) {
	_, _ = d.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
}

func (d digest) ref(r Ref) {
	d.number(r.Node)
	d.number(r.Part)
}

// TypeName names a type in fingerprints and errors, with its package's path.
func TypeName(t reflect.Type) string {
	if t.Name() != "" && t.PkgPath() != "" {
		return t.PkgPath() + "." + t.Name()
	}
	if t.Name() != "" {
		return t.String()
	}
	switch t.Kind() {
	case reflect.Pointer:
		return "*" + TypeName(t.Elem())
	case reflect.Slice:
		return "[]" + TypeName(t.Elem())
	case reflect.Array:
		return "[" + strconv.Itoa(t.Len()) + "]" + TypeName(t.Elem())
	case reflect.Map:
		return "map[" + TypeName(t.Key()) + "]" + TypeName(t.Elem())
	}
	return t.String()
}
