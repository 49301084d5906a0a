package locking

import (
	"context"
	"fmt"
	"strconv"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// AuditRecord tells of a key that was taken from its holder by force.
type AuditRecord = driver.AuditRecord

// MaxReasonBytes limits the reason of a [Service.ForceRelease].
const MaxReasonBytes = 4096

// ForceRelease takes a key from its holder, who is named by owner and token as
// [Service.Inspect] tells them, so that it hits no other. It answers whether that
// holder had the key.
//
// The holder's context ends with [ErrLockRevoked], in whichever process that is,
// and its hold can be extended and joined no more. The key goes to who is next when
// the holder has released the lock, or when its lease has lapsed: two do not work
// at once. A holder that is gone and whose lock does not expire keeps the key, until
// it is taken with [Now].
//
// With [Now] the key goes on at once, whatever the holder still does; only a fence
// that checks tokens stops it then. A key that was taken before can be taken again
// with Now.
//
// A lock of another program has no token: it is named by its owner and a token of
// zero. Its holder cannot be told, so that without Now the answer is [ErrForeign].
//
// The reason is for the holder's process, and for [Service.Audit]; it may hold any
// bytes, at most [MaxReasonBytes] of them. Other errors are those of
// [Service.Inspect]. When the provider gave no answer the key may have been taken.
func (s *Service) ForceRelease(ctx context.Context, key, owner string, token Token, reason string, opts ...ForceOption) (bool, error) {
	var o toolOptions
	for _, opt := range opts {
		opt.toForce(&o)
	}
	p, err := s.inspector(o.provider, "ForceRelease")
	if err != nil {
		return false, err
	}
	if _, err := s.normalize(nil, []string{key}); err != nil {
		return false, err
	}
	switch {
	case owner == "":
		return false, &InvalidError{"owner", `""`, "the owner that Inspect tells"}
	case len(reason) > MaxReasonBytes:
		return false, &InvalidError{"reason", quoteShort(reason), fmt.Sprintf("at most %d bytes", MaxReasonBytes)}
	}
	had, err := p.ForceRelease(ctx, driver.ForceRequest{Key: key, Owner: owner, Token: token, Reason: reason, Now: o.now})
	if err != nil {
		return false, p.failed(ctx, "take "+quoteShort(key)+" by force", err)
	}
	return had, nil
}

// Audit returns the newest records of [Service.ForceRelease] first, at most limit.
// Providers keep a bounded number of them, 1,000 on Redis. Errors are those of
// [Service.Inspect].
func (s *Service) Audit(ctx context.Context, limit int, opts ...AuditOption) ([]AuditRecord, error) {
	var o toolOptions
	for _, opt := range opts {
		opt.toAudit(&o)
	}
	if limit < 1 {
		return nil, &InvalidError{"limit", strconv.Itoa(limit), "at least 1"}
	}
	p, err := s.inspector(o.provider, "Audit")
	if err != nil {
		return nil, err
	}
	records, err := p.Audit(ctx, limit)
	if err != nil {
		return nil, p.failed(ctx, "read the audit", err)
	}
	return records, nil
}
