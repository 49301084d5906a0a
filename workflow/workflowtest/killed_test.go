package workflowtest

import "testing"

func TestProcessThatLeavesItsTestOutIsNoHistory(t *testing.T) {
	j := &jury{TB: t}
	over := make(chan struct{})
	go func() {
		defer close(over)
		killed(j, "TestThatIsNotThere", nil)
	}()
	<-over
	j.wants(t, "process 1 has left out what it is for")
}

// What these processes have ends with them: each begins anew.
func TestProcessesAreKilledAtEachPoint(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0") // they need not wait for reports of races at their end
	ExploreKilled(t, Subject{
		World:   func(t testing.TB, _ string) World { return inMemory(t) },
		Program: twoSteps,
		Check: func(t testing.TB, dir string, err error) {
			if err != nil {
				t.Error(err)
			}
			if _, done := ReadLedger(t, dir).begins("b", false); !done {
				t.Error("the last step has not had its effect")
			}
		},
	})
}
