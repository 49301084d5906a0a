package lockmem

import (
	"sync"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// news is what has happened that nobody was told of yet. The provider's mutex
// guards it.
//
// Notify is called without the mutex, from a goroutine that lives as long as there
// is something to tell: so events come one after the other, and in order.
type news struct {
	notify func(driver.Event)
	events []driver.Event
	runs   bool
	told   chan struct{} // closed when the last goroutine has ended; nil before the first
}

// add notes an event, to be told when the call of the provider ends.
func (n *news) add(e driver.Event) {
	if n.notify != nil {
		n.events = append(n.events, e)
	}
}

// forget drops what nobody was told of.
func (n *news) forget() { n.events = nil }

// tell has the events told, by a goroutine that there is or that it starts.
func (n *news) tell(mu *sync.Mutex) {
	if len(n.events) == 0 || n.runs {
		return
	}
	n.runs, n.told = true, make(chan struct{})
	go n.run(mu, n.told)
}

func (n *news) run(mu *sync.Mutex, told chan struct{}) {
	defer close(told)
	for {
		mu.Lock()
		events := n.events
		n.events = nil
		n.runs = len(events) > 0
		mu.Unlock()
		if len(events) == 0 {
			return
		}
		for _, e := range events {
			n.notify(e)
		}
	}
}
