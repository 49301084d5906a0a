package locking

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
)

// ServiceKey is the key under which a container offers the service; its name is
// "Modules.LOCKING". Inside a step:
//
//	locks, err := container.Resolve(ctx, locking.ServiceKey)
var ServiceKey = container.NewKey[*Service]("Modules.LOCKING")

// InMemory is the id of the provider that is always there. It excludes callers
// of this process only.
const InMemory = "lp_in-memory"

// The limits that hold where [Config] names no others.
const (
	DefaultMaxKeys     = 1000
	DefaultMaxKeyBytes = 64 << 10
)

// Registration adds a provider to a service.
type Registration struct {
	// ID names the provider, which is then addressed as "lp_" + ID.
	ID string
	// IsDefault makes it the provider of calls that name none.
	IsDefault bool
	Provider  driver.Provider
}

// Config is what [New] needs. The zero value is a service with the in-memory
// provider alone.
type Config struct {
	// Providers are started in order by New, and closed by [Service.Close].
	//
	// One provider alone becomes the default, of several the one with IsDefault.
	// Without any, or with several of which none is the default, calls that name
	// no provider go to the in-memory one; in the latter case a warning says so.
	Providers []Registration
	// Logger defaults to [slog.Default].
	Logger *slog.Logger
	// MaxKeys limits the keys of one call; zero is [DefaultMaxKeys].
	MaxKeys int
	// MaxKeyBytes limits the length of a key; zero is [DefaultMaxKeyBytes].
	MaxKeyBytes int
}

// Service takes and gives back locks. Its methods may be called concurrently.
//
// Whose a lock is depends on where it is asked for. Outside executions the owner
// is "*" unless [WithOwner] names one, and the lock does not expire unless
// [Expire] says so. Inside a step the lock belongs to the execution: it is
// renewed while the execution lives, a retry or a later step gets it again, and
// what is not released stays held until the execution ends.
type Service struct {
	log       *slog.Logger
	providers map[string]*provider
	ids       []string // in order of registration
	fallback  *provider
	maxKeys   int
	maxKey    int
	tickets   listeners
}

// provider is a registered provider and what this process holds there.
type provider struct {
	id     string
	driver driver.Provider
	info   driver.Info
	holds  *holds
	asked  atomic.Bool // for a lock that was not restored: set before the driver is
}

// New starts the providers and returns the service. When one of them cannot be
// started, those before it are closed again and the error is returned. Ctx
// bounds the start only.
func New(ctx context.Context, cfg Config) (*Service, error) {
	s := &Service{
		log:       cfg.Logger,
		providers: make(map[string]*provider, len(cfg.Providers)+1),
		maxKeys:   cfg.MaxKeys,
		maxKey:    cfg.MaxKeyBytes,
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.maxKeys == 0 {
		s.maxKeys = DefaultMaxKeys
	}
	if s.maxKey == 0 {
		s.maxKey = DefaultMaxKeyBytes
	}
	regs, fallback, err := s.arrange(cfg.Providers)
	if err != nil {
		return nil, err
	}
	for _, reg := range regs {
		if err := s.start(ctx, reg); err != nil {
			return nil, errors.Join(err, s.Close(ctx))
		}
	}
	s.fallback = s.providers[fallback]
	return s, nil
}

// arrange checks the registrations, adds the in-memory provider where it is not
// registered, and chooses the default.
func (s *Service) arrange(regs []Registration) (all []Registration, fallback string, err error) {
	if s.maxKeys < 0 {
		return nil, "", &InvalidError{"Config.MaxKeys", strconv.Itoa(s.maxKeys), "zero or more"}
	}
	if s.maxKey < 0 {
		return nil, "", &InvalidError{"Config.MaxKeyBytes", strconv.Itoa(s.maxKey), "zero or more"}
	}
	var ids, defaults []string
	for i, reg := range regs {
		id := "lp_" + reg.ID
		switch {
		case reg.ID == "":
			return nil, "", &InvalidError{fmt.Sprintf("Config.Providers[%d].ID", i), `""`, "a name that is not empty"}
		case reg.Provider == nil:
			return nil, "", &InvalidError{fmt.Sprintf("Config.Providers[%d].Provider", i), "nil", "a provider for " + id}
		case slices.Contains(ids, id):
			return nil, "", &InvalidError{fmt.Sprintf("Config.Providers[%d].ID", i), quoteShort(reg.ID), "an id that is used once; registered are " + fmt.Sprint(ids)}
		}
		ids = append(ids, id)
		if reg.IsDefault {
			defaults = append(defaults, id)
		}
	}
	if !slices.Contains(ids, InMemory) {
		own := Registration{ID: InMemory[len("lp_"):], Provider: lockmem.New(lockmem.Config{})}
		all = append(all, own)
	}
	all = append(all, regs...)
	switch {
	case len(defaults) > 1:
		return nil, "", &InvalidError{"Config.Providers", fmt.Sprint(defaults), "at most one provider with IsDefault; registered are " + fmt.Sprint(ids)}
	case len(defaults) == 1:
		return all, defaults[0], nil
	case len(regs) == 1:
		return all, ids[0], nil
	case len(regs) > 1:
		s.log.Warn("locking: several providers and none with IsDefault: locks that name no provider use "+
			InMemory+", which protects this process only", "default", InMemory, "providers", ids)
	}
	return all, InMemory, nil
}

func (s *Service) start(ctx context.Context, reg Registration) error {
	id := "lp_" + reg.ID
	p := &provider{id: id, driver: reg.Provider}
	p.holds = newHolds(p, s.log)
	p.holds.tickets = &s.tickets
	if err := p.driver.Start(ctx, driver.Env{ID: reg.ID, Logger: s.log, Notify: p.holds.notify}); err != nil {
		p.holds.stop()
		return fmt.Errorf("locking: start provider %s: %w", id, err)
	}
	p.info = p.driver.Describe()
	s.providers[id] = p
	s.ids = append(s.ids, id)
	return nil
}

// Close stops renewing, ends the context of every lock this service holds with
// [ErrClosed], and closes the providers. It releases nothing: a lock with an
// expiry lapses, one without stays for whoever knows its owner. It waits for the
// warnings that are being called ([WarnBefore]), as long as ctx allows.
func (s *Service) Close(ctx context.Context) error {
	var errs []error
	for _, id := range slices.Backward(s.ids) {
		p := s.providers[id]
		if err := p.holds.close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("locking: close %s: waiting for what still runs: %w", id, err))
		}
		if err := p.driver.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("locking: close provider %s: %w", id, err))
		}
	}
	return errors.Join(errs...)
}

// Provider returns the driver behind an id such as "lp_locking-redis"; the empty
// id is the default provider. It is for tools: what is taken there directly is
// not renewed, and no handle knows of it.
func (s *Service) Provider(id string) (driver.Provider, error) {
	p, err := s.provider(id)
	if err != nil {
		return nil, err
	}
	return p.driver, nil
}

// DefaultProvider returns the id of the provider of calls that name none.
func (s *Service) DefaultProvider() string { return s.fallback.id }

func (s *Service) provider(id string) (*provider, error) {
	if id == "" {
		return s.fallback, nil
	}
	p, ok := s.providers[id]
	if !ok {
		return nil, &UnknownProviderError{ID: id, Known: slices.Clone(s.ids)}
	}
	return p, nil
}

// Keys makes a list of keys; it is only there to read well.
func Keys(key string, more ...string) []string {
	return append([]string{key}, more...)
}

// normalize returns the keys sorted and each once, so that neither order nor
// repetition means anything to a provider. They are in the room where they fit.
func (s *Service) normalize(room, keys []string) ([]string, error) {
	sorted := room[:0]
	sorted = append(sorted, keys...)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	switch {
	case len(sorted) == 0:
		return nil, &InvalidError{"keys", "[]", "at least one key"}
	case len(sorted) > s.maxKeys:
		return nil, &InvalidError{"keys", fmt.Sprintf("(%d keys)", len(sorted)), fmt.Sprintf("at most %d keys (Config.MaxKeys)", s.maxKeys)}
	}
	for _, k := range sorted {
		switch {
		case k == "":
			return nil, &InvalidError{"key", `""`, "a key that is not empty"}
		case len(k) > s.maxKey:
			return nil, &InvalidError{"key", quoteShort(k), fmt.Sprintf("at most %d bytes (Config.MaxKeyBytes)", s.maxKey)}
		}
	}
	return sorted, nil
}

// wait returns how long a call waits, given its options.
func (p *provider) wait(o *options) time.Duration {
	if o.waitSet {
		return o.wait
	}
	return p.info.DefaultWait
}
