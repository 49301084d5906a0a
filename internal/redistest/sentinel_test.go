package redistest

import (
	"testing"
	"time"
)

func TestSentinelsPutAReplicaInThePlaceOfAMasterThatIsTakenDownOrKilled(t *testing.T) {
	t.Parallel()
	s := StartSentinel(t, 2)
	client := s.Client()
	for what, fail := range map[string]func() (*Server, *Server){"by command": s.FailOver, "by a kill": s.KillMaster} {
		began := time.Now()
		before, after := fail()
		t.Logf("%s: after %s", what, time.Since(began))
		if before == after || s.Master() != after {
			t.Fatalf("%s: %s came after %s", what, after.Addr(), before.Addr())
		}
		Eventually(t, 10*time.Second, func() string {
			if err := client.Set(bg, "k", what, 0).Err(); err != nil {
				return err.Error()
			}
			if v := after.Client().Get(bg, "k").Val(); v != what {
				return "the new master has " + v
			}
			return ""
		})
	}
}
