// Package medusa has the tests of Lockstep beside Medusa: against one Redis server they
// drive a [locking.Service], and the locking module of a Medusa store on its real npm
// packages, in a Node.js process. What the two sides promise each other is in
// docs/medusa.md.
//
// Where Node.js 20 and npm are not there, the tests are skipped with that reason.
//
// [locking.Service]: https://pkg.go.dev/github.com/lockstep-dev/lockstep/locking#Service
package medusa
