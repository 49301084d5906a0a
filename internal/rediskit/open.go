package rediskit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// DefaultDialTimeout bounds a connection where the options name no other.
const DefaultDialTimeout = 5 * time.Second

// OptionsFromURL reads a URL such as redis://user:password@host:6379/0. Its errors
// never hold the password.
func OptionsFromURL(raw string) (*redis.UniversalOptions, error) {
	o, err := redis.ParseURL(raw)
	if err != nil {
		return nil, fmt.Errorf("malformed URL %s: %s", RedactURL(raw), urlFault(err, raw))
	}
	addr := o.Addr
	return &redis.UniversalOptions{
		Addrs: []string{addr}, DB: o.DB, Username: o.Username, Password: o.Password, ClientName: o.ClientName,
		Protocol: o.Protocol, MaxRetries: o.MaxRetries, MinRetryBackoff: o.MinRetryBackoff, MaxRetryBackoff: o.MaxRetryBackoff,
		DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout,
		ContextTimeoutEnabled: o.ContextTimeoutEnabled,
		PoolFIFO:              o.PoolFIFO, PoolSize: o.PoolSize, PoolTimeout: o.PoolTimeout, MinIdleConns: o.MinIdleConns,
		MaxIdleConns: o.MaxIdleConns, MaxActiveConns: o.MaxActiveConns,
		ConnMaxIdleTime: o.ConnMaxIdleTime, ConnMaxLifetime: o.ConnMaxLifetime, TLSConfig: o.TLSConfig,
		Dialer: unixDialer(o.Network),
	}, nil
}

// unixDialer is for unix:// URLs, whose network the universal options cannot say.
func unixDialer(network string) func(ctx context.Context, _, addr string) (net.Conn, error) {
	if network != "unix" {
		return nil
	}
	return func(ctx context.Context, _, addr string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", addr)
	}
}

// RedactURL returns the URL as it may be shown. A text that is no URL is not shown
// at all: there is no telling where in it a password stands.
func RedactURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" || u.Opaque != "" || (u.Host == "" && u.Path == "") {
		return "(not shown, since it may hold a password)"
	}
	u.RawQuery, u.Fragment, u.RawFragment = "", "", ""
	return u.Redacted()
}

// urlShape is what a URL should look like.
const urlShape = "expected redis://user:password@host:port/database"

// urlFault says what is wrong with a URL, without quoting it.
func urlFault(err error, raw string) string {
	text := err.Error()
	if parse, ok := errors.AsType[*url.Error](err); ok {
		text = parse.Err.Error()
	}
	if u, e := url.Parse(raw); e == nil && !strings.Contains(text, secretOf(u)) {
		return text + "; " + urlShape
	}
	return "it cannot be read; " + urlShape
}

// secretOf returns what must not be printed, or something that no text contains.
func secretOf(u *url.URL) string {
	if p, ok := u.User.Password(); ok && p != "" {
		return p
	}
	return "\x00"
}

// ConnectError says why a server cannot be used.
type ConnectError struct {
	Addr string
	What string
	Err  error
}

func (e *ConnectError) Error() string {
	text := e.What + " at " + e.Addr
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *ConnectError) Unwrap() error { return e.Err }

// Check connects, and verifies that the server can be used: that it answers in
// time, that the password and the database are right, and that it is new enough.
func Check(ctx context.Context, c redis.UniversalClient, addr string, timeout time.Duration, major int) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	info := make(chan *redis.StringCmd, 1)
	// go-redis dials with a context of its own: the time limit must hold all the same.
	go func() { info <- c.Info(ctx, "server") }()
	var text string
	select {
	case cmd := <-info:
		if err := cmd.Err(); err != nil {
			return &ConnectError{addr, diagnosis(err), err}
		}
		text = cmd.Val()
	case <-ctx.Done():
		return &ConnectError{addr, "no answer from Redis within " + timeout.String(), ctx.Err()}
	}
	version, found := serverVersion(text)
	if n, err := strconv.Atoi(strings.SplitN(version, ".", 2)[0]); found && (err != nil || n < major) {
		return &ConnectError{addr, fmt.Sprintf("Redis %s is too old, %d.0 or later is needed", version, major), nil}
	}
	return nil
}

func serverVersion(info string) (string, bool) {
	_, rest, found := strings.Cut(info, "redis_version:")
	version, _, _ := strings.Cut(rest, "\r\n")
	return version, found
}

func diagnosis(err error) string {
	text := err.Error()
	switch {
	case strings.HasPrefix(text, "WRONGPASS"), strings.Contains(text, "invalid password"), strings.Contains(text, "invalid username-password"):
		return "Redis refused the user name or password"
	case strings.HasPrefix(text, "NOAUTH"):
		return "Redis wants a password, and none was given"
	case strings.Contains(text, "DB index is out of range"), strings.Contains(text, "invalid DB index"):
		return "Redis has no database of that number"
	case errors.Is(err, context.DeadlineExceeded), timedOut(err):
		return "no answer from Redis in time"
	}
	return "cannot connect to Redis"
}

func timedOut(err error) bool {
	netErr, ok := errors.AsType[net.Error](err)
	return ok && netErr.Timeout()
}
