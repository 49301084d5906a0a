package workflow_test

import (
	"bytes"
	"compress/gzip"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"io"
	"testing"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// sealed is a codec that compresses and encrypts what JSON makes. Equal values become
// different bytes.
type sealed struct {
	store.JSON

	aead cipher.AEAD
}

func newSealed(t *testing.T) *sealed {
	t.Helper()
	block, err := aes.NewCipher(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return &sealed{aead: aead}
}

func (*sealed) Name() string { return "json+gzip+aes" }

func (s *sealed) Canonical(v any) ([]byte, error) { return s.JSON.Encode(v) }

func (s *sealed) Encode(v any) ([]byte, error) {
	plain, err := s.JSON.Encode(v)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	nonce := make([]byte, s.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return s.aead.Seal(nonce, nonce, b.Bytes(), nil), nil
}

func (s *sealed) Decode(data []byte, into any) error {
	if len(data) < s.aead.NonceSize() {
		return errors.New("too short")
	}
	packed, err := s.aead.Open(nil, data[:s.aead.NonceSize()], data[s.aead.NonceSize():], nil)
	if err != nil {
		return err
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return s.JSON.Decode(plain, into)
}

func TestValuesAreKeptAsTheCodecWritesThem(t *testing.T) {
	const secret = "a secret that is long enough to be found"
	w := inTurn(steps.New("a", func(_ *steps.Context, in string) (string, error) { return in + "!", nil }))
	st := storemem.New()
	r := start(t, workflow.Config{Workflows: workflow.Set{w}, Store: st, Codec: newSealed(t)})
	out, err := workflow.Run(t.Context(), r.Engine, w, secret, workflow.WithExecutionID("x"))
	if out != secret+"!" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	x, err := st.Load(t.Context(), store.Key{Workflow: "w", ID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	kept := append(bytes.Clone(x.Input), x.Output...)
	for _, c := range x.Cells {
		kept = append(kept, c.Data...)
	}
	if bytes.Contains(kept, []byte(secret)) {
		t.Error("the store has the plain text")
	}
}

func TestI9EqualInputsAreTheSameAlsoWhereTheirEncodingsDiffer(t *testing.T) {
	var j journal
	w := inTurn(doing(&j, "a"))
	r := start(t, workflow.Config{Workflows: workflow.Set{w}, Codec: newSealed(t)})
	for range 2 {
		if out, err := workflow.Run(t.Context(), r.Engine, w, "-", workflow.WithExecutionID("x")); out != "-a" || err != nil {
			t.Errorf("%q, %v", out, err)
		}
	}
	j.want(t, "do a(-)")
	if _, err := workflow.Run(t.Context(), r.Engine, w, "other", workflow.WithExecutionID("x")); !errors.Is(err, workflow.ErrIDConflict) {
		t.Error(err)
	}
}
