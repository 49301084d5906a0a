package main

import (
	"context"
	"database/sql"
	"errors"

	"github.com/lockstep-dev/lockstep/locking"
)

var errStale = errors.New("another holder has written since")

// snippet: sql-schema
// The column that is the fence. It is never null: no token compares with a null,
// and the row could not be written any more.
const schema = `
ALTER TABLE products ADD COLUMN fence BIGINT NOT NULL DEFAULT 0`

// snippet: end

// snippet: sql
// setStock writes unless a holder with a newer token has written before.
func setStock(ctx context.Context, db *sql.DB, id string, stock int, token locking.Token) error {
	res, err := db.ExecContext(ctx, `
		UPDATE products SET stock = $2, fence = $3
		WHERE id = $1 AND fence <= $3`, id, stock, int64(token))
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		return errStale // or there is no such row
	}
	return err
}

// snippet: end

// snippet: sql-upsert
// putStock does the same where the row may not be there yet.
func putStock(ctx context.Context, db *sql.DB, id string, stock int, token locking.Token) error {
	res, err := db.ExecContext(ctx, `
		INSERT INTO products (id, stock, fence) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET stock = excluded.stock, fence = excluded.fence
		WHERE products.fence <= excluded.fence`, id, stock, int64(token))
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		return errStale
	}
	return err
}

// snippet: end
