package redistest

import (
	"strings"
	"testing"
)

func TestATLSServerIsTrustedByThoseWhoKnowItsAuthorityAlone(t *testing.T) {
	t.Parallel()
	ours, others := NewAuthority(t), NewAuthority(t)
	s := StartTLS(t, ours)
	if err := s.Client().Ping(bg).Err(); err != nil {
		t.Fatal(err)
	}
	stranger := s.Client()
	stranger.Options().TLSConfig = others.Trusting()
	if err := stranger.Ping(bg).Err(); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Fatalf("got %v", err)
	}
	if s.Restart(); !strings.HasPrefix(s.URL(), "rediss://") {
		t.Fatal(s.URL())
	}
	if err := s.Client().Ping(bg).Err(); err != nil {
		t.Fatal(err)
	}
}
