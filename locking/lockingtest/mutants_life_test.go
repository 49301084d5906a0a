package lockingtest

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func tokenMutants() []mutant {
	var providers atomic.Int64
	return []mutant{
		{
			name: "tokens fall",
			cases: []string{
				"TokensRiseOverRelease", "TokensRiseOverLapse", "TokensRiseOverTakeover", "TokensRiseOverReleaseAll",
				"TokensRiseUnderContention", "ProvidersShareTokens", "TokensRiseOverRestart", "LaterGenerationTakesOver",
				"WaitingGenerationTakesOver",
			},
			wrap: translate{
				token: func(t driver.Token) driver.Token { return math.MaxUint64 - t },
				plain: func(t driver.Token) driver.Token { return math.MaxUint64 - t },
			}.wrap,
		},
		{
			name: "tokens count from one in each provider",
			cases: []string{
				"ProvidersShareTokens", "TokensRiseOverRestart",
			},
			wrap: renumber,
		},
		{
			name:  "a later provider's tokens lag",
			cases: []string{"ProvidersShareTokens", "TokensRiseOverRestart"},
			wrap: func(p driver.Provider) driver.Provider {
				lag := driver.Token(providers.Add(1)) * 1000
				return translate{
					token: func(t driver.Token) driver.Token { return t - lag },
					plain: func(t driver.Token) driver.Token { return t + lag },
				}.wrap(p)
			},
		},
	}
}

// renumber gives out 1, 2, 3.
func renumber(p driver.Provider) driver.Provider {
	var mu sync.Mutex
	var tokens []driver.Token
	return translate{
		token: func(t driver.Token) driver.Token {
			mu.Lock()
			defer mu.Unlock()
			tokens = append(tokens, t)
			return driver.Token(len(tokens))
		},
		plain: func(t driver.Token) driver.Token {
			mu.Lock()
			defer mu.Unlock()
			if t > driver.Token(len(tokens)) {
				return t
			}
			return tokens[t-1]
		},
	}.wrap(p)
}

func nameMutants() []mutant {
	fold := func(s string) string { return strings.ToLower(strings.TrimSpace(s)) }
	cut := func(s string) string { before, _, _ := strings.Cut(s, "\x00"); return before }
	valid := func(s string) string { return strings.ToValidUTF8(s, "\ufffd") }
	tag := func(s string) string { // as a hash tag is taken for the whole
		if _, after, ok := strings.Cut(s, "{"); ok {
			if inner, _, ok := strings.Cut(after, "}"); ok && inner != "" {
				return inner
			}
		}
		return s
	}
	var list []mutant
	for _, m := range []struct {
		name string
		f    func(string) string
	}{{"case and blanks", fold}, {"what follows a NUL", cut}, {"invalid UTF-8", valid}, {"what is outside braces", tag}} {
		list = append(list,
			mutant{"keys lose " + m.name, []string{"AnyBytesMakeAKey", "AnyBytesTogether"}, translate{key: m.f}.wrap},
			mutant{"owners lose " + m.name, []string{"AnyBytesMakeAnOwner"}, translate{owner: m.f}.wrap},
		)
	}
	return append(list,
		mutant{"keys lose blanks", []string{"OtherKeysAreFree"}, translate{key: fold}.wrap},
		mutant{"keys lose their end", []string{"LongKeys"}, translate{key: func(s string) string { return s[:min(len(s), 1<<15)] }}.wrap},
	)
}

var errNotStarted = errors.New("not started")

func lifeMutants() []mutant {
	return []mutant{
		{
			name:  "another error before Start",
			cases: []string{"NotBeforeStart"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, extend: func(ctx context.Context, ttl time.Duration, list []driver.Hold) ([]driver.Extension, error) {
					answers, err := p.Extend(ctx, ttl, list)
					if errors.Is(err, driver.ErrClosed) {
						err = errNotStarted
					}
					return answers, err
				}}
			},
		},
		{
			name:  "Close does nothing",
			cases: []string{"NotAfterClose", "CloseEndsWaits", "CloseLeavesTheQueue"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, close: func(context.Context) error { return nil }}
			},
		},
		{
			name:  "Close frees",
			cases: []string{"CloseFreesNothing"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, close: func(ctx context.Context) error {
					_, _ = p.ReleaseAll(ctx, "owner")
					return p.Close(ctx)
				}}
			},
		},
		{
			name:  "no default wait",
			cases: []string{"DescribesItself"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, describe: func() driver.Info { return driver.Info{} }}
			},
		},
		{
			name:  "arguments are changed",
			cases: []string{"LeavesArgumentsAlone"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
					grant, err := p.Acquire(ctx, req)
					req.Keys[0] = ""
					return grant, err
				}}
			},
		},
		{
			name:  "arguments are kept",
			cases: []string{"LeavesArgumentsAlone"},
			wrap:  keepArguments,
		},
		{
			name:  "nothing is an error",
			cases: []string{"NoHoldsNoAnswers"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, release: func(ctx context.Context, list []driver.Hold) ([]bool, error) {
					if len(list) == 0 {
						return nil, errNotStarted
					}
					return p.Release(ctx, list)
				}}
			},
		},
	}
}

// keepArguments releases again, later, what it was last asked to.
func keepArguments(p driver.Provider) driver.Provider {
	var kept []driver.Hold
	return &faulty{
		Provider: p,
		acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
			if len(kept) > 0 {
				_, _ = p.Release(ctx, kept)
			}
			return p.Acquire(ctx, req)
		},
		release: func(ctx context.Context, list []driver.Hold) ([]bool, error) {
			if list[0].Owner != stranger {
				kept = list
			}
			return p.Release(ctx, list)
		},
	}
}
