package lockredis

import (
	"crypto/sha1" //nolint:gosec // the name under which Redis knows a script
	_ "embed"
	"encoding/hex"
	"strings"
)

// script is a Lua script: its name for messages, its source, and the name that a
// server knows it by.
type script struct {
	name, source, sha string
	// self says that the process's name precedes the arguments of the shares, names
	// that the number of successors does, too, and trailing how many answers follow those
	// of the shares.
	self, names bool
	trailing    int
}

var (
	//go:embed plain.lua
	plainSource string
	//go:embed queue.lua
	queueSource string
	//go:embed serve.lua
	serveSource string
	//go:embed acquire.lua
	acquireSource string
	//go:embed release.lua
	releaseSource string
	//go:embed extend.lua
	extendSource string
	//go:embed cancel.lua
	cancelSource string
	//go:embed claim.lua
	claimSource string
	//go:embed tick.lua
	tickSource string
	//go:embed state.lua
	stateSource string
	//go:embed inspect.lua
	inspectSource string
	//go:embed list.lua
	listSource string
	//go:embed force.lua
	forceSource string
	//go:embed rights.lua
	rightsSource string
	//go:embed who.lua
	whoSource string

	acquireScript = newScript("acquire.lua", acquireSource).answersMany(0)
	releaseScript = newScript("release.lua", releaseSource).answersMany(2).namesSuccessors()
	extendScript  = newScript("extend.lua", extendSource)
	cancelScript  = newScript("cancel.lua", cancelSource)
	claimScript   = newScript("claim.lua", claimSource)
	tickScript    = newScript("tick.lua", tickSource)
	inspectScript = newScript("inspect.lua", inspectSource)
	listScript    = newScript("list.lua", listSource)
	forceScript   = newScript("force.lua", forceSource)
	rightsScript  = newScript("rights.lua", rightsSource)
	whoScript     = newScript("who.lua", whoSource)
)

// newScript puts the shared parts where the source asks for them. What stands
// before that runs without them, and so costs less.
func newScript(name, source string) *script {
	source = strings.NewReplacer(
		"--include plain.lua\n", plainSource,
		"--include queue.lua\n", queueSource,
		"--include serve.lua\n", serveSource,
		"--include state.lua\n", stateSource,
	).Replace(source)
	sum := sha1.Sum([]byte(source)) //nolint:gosec // as above
	return &script{name: name, source: source, sha: hex.EncodeToString(sum[:])}
}

// answersMany marks a script that answers shares.
func (s *script) answersMany(trailing int) *script {
	s.self, s.trailing = true, trailing
	return s
}

// namesSuccessors marks a script whose grants may name successors.
func (s *script) namesSuccessors() *script {
	s.names = true
	return s
}
