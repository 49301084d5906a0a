package main

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestThePausedHolderIsRefusedAndTheOneThatIsGoneLosesItsLock(t *testing.T) {
	server := redistest.Start(t)
	var out bytes.Buffer
	if err := run(context.Background(), server.URL(), &out); err != nil {
		t.Fatal(err)
	}
	const want = `the next holder sells one: 9 left
the paused holder is refused
prod_123 is held by gone, 0 wait
prod_123: gone, foreign: false
prod_123 was taken from gone: its host has burnt down
`
	if out.String() != want {
		t.Fatalf("got\n%s\nwant\n%s", out.String(), want)
	}
	if stock := server.Client().HGet(context.Background(), product, "stock").Val(); stock != "8" {
		t.Fatalf("the stock is %s, want 10 less one that was sold and one that was taken", stock)
	}
}

// table is a database that answers every statement with a number of rows.
type table struct {
	rows int64
	sent []driver.NamedValue
}

func (t *table) Connect(context.Context) (driver.Conn, error) { return t, nil }
func (t *table) Driver() driver.Driver                        { return nil }
func (t *table) Prepare(string) (driver.Stmt, error)          { return nil, io.ErrUnexpectedEOF }
func (t *table) Close() error                                 { return nil }
func (t *table) Begin() (driver.Tx, error)                    { return nil, io.ErrUnexpectedEOF }
func (t *table) ExecContext(_ context.Context, _ string, args []driver.NamedValue) (driver.Result, error) {
	t.sent = args
	return driver.RowsAffected(t.rows), nil
}

func TestNoRowMeansThatTheTokenIsStale(t *testing.T) {
	for name, write := range map[string]func(ctx context.Context, db *sql.DB, id string, stock int, token locking.Token) error{
		"update": setStock, "upsert": putStock,
	} {
		tab := &table{}
		db := sql.OpenDB(tab)
		if err := write(context.Background(), db, product, 5, 1<<53); !errors.Is(err, errStale) {
			t.Errorf("%s: got %v", name, err)
		}
		tab.rows = 1
		if err := write(context.Background(), db, product, 5, 1<<53); err != nil {
			t.Errorf("%s: got %v", name, err)
		}
		var sent []driver.Value
		for _, a := range tab.sent {
			sent = append(sent, a.Value)
		}
		if !slices.Equal(sent, []driver.Value{product, int64(5), int64(1 << 53)}) {
			t.Errorf("%s: sent was %v", name, sent)
		}
		db.Close()
	}
	if !strings.Contains(schema, "NOT NULL") {
		t.Error("a null fence would refuse every token")
	}
}
