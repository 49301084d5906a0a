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
const fingerprintFormat = "lockstep plan 1"

// fingerprint hashes what an execution depends on. Every part is preceded by its
// length, so that no two plans run together into the same bytes.
func fingerprint(p *Plan) string {
	w := digest{sha256.New()}
	w.text(fingerprintFormat)
	w.text(p.Name)
	w.text(p.InType)
	w.text(p.OutType)
	w.number(int64(p.Output))
	w.number(int64(len(p.Nodes)))
	for i := range p.Nodes {
		n := &p.Nodes[i]
		w.text(string(n.Kind))
		w.text(n.Path)
		w.text(n.OutType)
		w.number(int64(len(n.Inputs)))
		for _, ref := range n.Inputs {
			w.number(int64(ref))
		}
		if n.Step == nil {
			continue
		}
		w.text(n.Step.InType)
		w.text(n.Step.OutType)
		w.text(n.Step.UndoType)
	}
	return hex.EncodeToString(w.Sum(nil))
}

type digest struct{ hash.Hash }

func (d digest) text(s string) {
	d.number(int64(len(s)))
	_, _ = d.Write([]byte(s)) // never fails, as hash.Hash says
}

func (d digest) number(n int64) {
	_, _ = d.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
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
