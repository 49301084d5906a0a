package locking

import "time"

// ShiftWallClock has the default provider's wall clock moved by what the function
// returns. It must be called before the service is used.
func ShiftWallClock(s *Service, by func() time.Duration) { s.fallback.holds.clock.shift = by }
