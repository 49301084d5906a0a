package engine

import (
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/store"
)

// withdraw takes back the attempts that a change enables which turns the execution
// round: nothing goes forward any more (I4).
func (r *Run) withdraw(commands []machine.Command, now time.Time) ([]machine.Command, error) {
	for {
		i := slices.IndexFunc(commands, func(c machine.Command) bool {
			s, ok := c.(machine.StartAttempt)
			return ok && s.Phase == machine.Invoke
		})
		if i < 0 {
			return commands, nil
		}
		at := commands[i].(machine.StartAttempt).Place //nolint:forcetypeassert // as it was found
		d, err := machine.Decide(r.s, machine.Withdrawn{Place: at}, now)
		if err != nil {
			return nil, err
		}
		r.s.Apply(d)
		commands = slices.DeleteFunc(commands, func(c machine.Command) bool { return concerns(c, at) })
		commands = append(commands, d.Commands...)
	}
}

// concerns says whether a command is about a forward attempt at the place.
func concerns(c machine.Command, at store.Place) bool {
	switch c := c.(type) {
	case machine.StartAttempt:
		return c.Phase == machine.Invoke && c.Place == at
	case machine.CancelAttempt:
		return c.Place == at
	}
	return false
}
