module github.com/lockstep-dev/lockstep/interop/medusa

go 1.26.0

// Packages of npm may contain Go files; they are no packages of this module.
ignore ./store/node_modules

replace github.com/lockstep-dev/lockstep => ../../

require (
	github.com/lockstep-dev/lockstep v0.0.0-00010101000000-000000000000
	github.com/redis/go-redis/v9 v9.23.0
	go.uber.org/goleak v1.3.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
