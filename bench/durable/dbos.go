package durable

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	_ "github.com/dbos-inc/dbos-transact-golang/dbos/driver/sqlite" // registers its driver
)

// dbosConns is how many connections its pool has. Its own pool has 8.
const dbosConns = 8

// DBOS is DBOS Transact for Go on its SQLite system database.
func DBOS() Contender {
	return Contender{
		Name: NameDBOS,
		Setting: fmt.Sprintf("DBOS Transact Go %s: workflows run in the process that calls, no queue, so nothing is polled for; %d connections with the pragmas "+
			"that its own pool has (WAL, BEGIN IMMEDIATE, busy_timeout 5000; 1 to 16 connections were equally fast), given as SQLiteSystemDB, since its own knows NORMAL only; "+
			"executions are kept for good",
			version("github.com/dbos-inc/dbos-transact-golang"), dbosConns),
		Open: openDBOS,
	}
}

type dbosRunner struct {
	db  *sql.DB
	ctx dbos.Context
}

func openDBOS(ctx context.Context, folder string, sync Sync) (Runner, error) {
	db, err := sql.Open("sqlite", dbosFile(folder, sync))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(dbosConns)
	db.SetMaxIdleConns(dbosConns)
	d := &dbosRunner{db: db}
	d.ctx, err = dbos.NewContext(ctx, dbos.Config{AppName: "bench", SQLiteSystemDB: db, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	dbos.RegisterWorkflow(d.ctx, dbosWorkflow)
	if err := dbos.Launch(d.ctx); err != nil {
		return nil, errors.Join(err, d.Close(ctx))
	}
	return d, nil
}

// dbosFile is the file, with what each connection is told.
func dbosFile(folder string, sync Sync) string {
	u := url.URL{Scheme: "file", Path: filepath.Join(folder, "dbos.db")}
	u.RawQuery = "_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=foreign_keys(ON)&_pragma=journal_mode(WAL)&_pragma=synchronous(" + string(sync) + ")"
	return u.String()
}

func dbosWorkflow(ctx dbos.Context, n int) (int, error) {
	for range Steps {
		var err error
		if n, err = dbos.RunAsStep(ctx, func(context.Context) (int, error) { return n + 1, nil }, dbos.WithStepName("add")); err != nil {
			return 0, err
		}
	}
	return n, nil
}

func (d *dbosRunner) Run(_ context.Context, n int) (int, error) {
	h, err := dbos.RunWorkflow(d.ctx, dbosWorkflow, n)
	if err != nil {
		return 0, err
	}
	return h.GetResult()
}

func (d *dbosRunner) Close(context.Context) error {
	return errors.Join(dbos.Shutdown(d.ctx, 10*time.Second), d.db.Close())
}
