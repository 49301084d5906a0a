package redistest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

const (
	// firstPort and ports are the range that servers get: below the ports that systems
	// hand out by themselves, also with busOffset added.
	firstPort = 10_000
	ports     = 12_000
	// busOffset is how much higher the port of a cluster's bus is.
	busOffset = 10_000
	// portTries is how many ports are tried before a test fails.
	portTries = 20
)

// choosePort returns a port that was free a moment ago, as was the one that a cluster
// would use beside it. Somebody else may take it before the server does.
func choosePort() (int, error) {
	var last error
	for range portTries {
		port := firstPort + rand.IntN(ports)
		if last = free(port); last == nil {
			last = free(port + busOffset)
		}
		if last == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("redistest: no free port in %d tries: %w", portTries, last)
}

// free returns an error when the port is taken.
func free(port int) error {
	l, err := net.Listen("tcp", address(port))
	if err != nil {
		return err
	}
	return l.Close()
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
