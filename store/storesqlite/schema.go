package storesqlite

// applicationID marks the files of this package: "LkSt".
const applicationID = 0x4c6b5374

// migrations lead from each version of the layout to the next; the version of a file is
// how many it has behind it. Those that were released never change.
//
// Each index is paid for on each write that touches it, so there is one for each question
// that is asked often, and most have few rows: an execution that is driven is in those of
// its key, its time and its owner, and a write in the midst of it touches none of them.
var migrations = []string{`
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- What many executions name, once.
CREATE TABLE workflows (workflow INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE plans (plan INTEGER PRIMARY KEY, workflow INTEGER NOT NULL, fingerprint TEXT NOT NULL, UNIQUE (workflow, fingerprint));
-- state: 0 without a lease yet, 1 leased, 2 lapsed, 3 ended.
CREATE TABLE instances (instance INTEGER PRIMARY KEY, node TEXT NOT NULL, incarnation TEXT NOT NULL, state INTEGER NOT NULL, until BLOB,
	UNIQUE (incarnation, node));

-- Times are twelve bytes that sort as the times do; none is NULL. Input and output are the
-- bytes, or the integer 1 when they are in large.
CREATE TABLE executions (
	seq INTEGER PRIMARY KEY,
	name TEXT NOT NULL, workflow INTEGER NOT NULL, plan INTEGER NOT NULL,
	run TEXT NOT NULL, codec TEXT NOT NULL, input, hash BLOB, generated INTEGER NOT NULL, created BLOB NOT NULL, deadline BLOB, parent BLOB,
	owner INTEGER, epoch INTEGER NOT NULL, revision INTEGER NOT NULL,
	last_owner INTEGER, last_epoch INTEGER, last_revision INTEGER, last_id INTEGER, -- the write that was made last
	state TEXT NOT NULL, due BLOB, unsettled INTEGER NOT NULL, cancelled BLOB, finished BLOB, forget BLOB, output, frames INTEGER NOT NULL,
	released INTEGER NOT NULL, -- its owner gave it up: it may be claimed at once
	ready BLOB,                -- from when on it may be claimed; NULL while it may not be
	expires BLOB,              -- when it is deleted; NULL while there is something to do for it
	takes INTEGER NOT NULL,    -- how often one of its tasks was taken
	claim INTEGER, unclean INTEGER NOT NULL -- the claim that it was claimed by, unless it was written since, and what that has answered
);
CREATE UNIQUE INDEX executions_key ON executions (name, workflow);
CREATE INDEX executions_time ON executions (created, plan);
CREATE INDEX executions_owner ON executions (owner) WHERE owner IS NOT NULL;
CREATE INDEX executions_ready ON executions (plan, ready) WHERE ready IS NOT NULL;
CREATE INDEX executions_expiry ON executions (expires) WHERE expires IS NOT NULL;
CREATE INDEX executions_claim ON executions (claim) WHERE claim IS NOT NULL;

CREATE TABLE large (seq INTEGER NOT NULL, part INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (seq, part)) WITHOUT ROWID;
CREATE TABLE cells (seq INTEGER NOT NULL, cell INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (seq, cell)) WITHOUT ROWID;
CREATE TABLE inbox (seq INTEGER NOT NULL, id TEXT NOT NULL, n INTEGER NOT NULL, data BLOB, PRIMARY KEY (seq, id)) WITHOUT ROWID;

-- line: 0 to be taken, ranked by priority; 1 too early, ranked by their time; 2 being done.
CREATE TABLE tasks (
	seq INTEGER NOT NULL, id TEXT NOT NULL,
	queue TEXT NOT NULL, priority INTEGER NOT NULL, not_before BLOB, data BLOB,
	line INTEGER NOT NULL, rank, added INTEGER NOT NULL,
	attempt INTEGER NOT NULL, doer INTEGER, call INTEGER, unclean INTEGER NOT NULL,
	PRIMARY KEY (seq, id)
) WITHOUT ROWID;
CREATE INDEX tasks_line ON tasks (queue, line, rank, added);
CREATE INDEX tasks_doer ON tasks (doer) WHERE doer IS NOT NULL;
`, `
-- Those that hold locks are claimed before others.
ALTER TABLE executions ADD COLUMN holding INTEGER NOT NULL DEFAULT 0;
CREATE INDEX executions_holding ON executions (owner) WHERE holding = 1;
CREATE INDEX executions_holding_ready ON executions (plan, ready) WHERE holding = 1 AND ready IS NOT NULL;
`, `
-- Tasks are taken of plans. What a queue remembers: whether it is paused, and when the last
-- of its tasks was taken.
ALTER TABLE tasks ADD COLUMN plan INTEGER NOT NULL DEFAULT 0;
UPDATE tasks SET plan = (SELECT plan FROM executions e WHERE e.seq = tasks.seq);
DROP INDEX tasks_line;
CREATE INDEX tasks_ready ON tasks (queue, plan, rank, added) WHERE line = 0;
CREATE INDEX tasks_later ON tasks (queue, rank) WHERE line = 1;
CREATE INDEX tasks_doing ON tasks (queue) WHERE line = 2;
CREATE TABLE queues (queue TEXT PRIMARY KEY, paused INTEGER NOT NULL, taken BLOB) WITHOUT ROWID;
`, `
-- The cells that have room in the row of their execution, see packed; NULL is none.
ALTER TABLE executions ADD COLUMN packed BLOB;
`, `
-- later: in which second it is to be looked at again whose time is far away; ready is NULL until then.
ALTER TABLE executions ADD COLUMN later INTEGER;
CREATE INDEX executions_later ON executions (later) WHERE later IS NOT NULL;
`, `
-- In which of the processes that have had instances each was seen first, counted from 1.
ALTER TABLE instances ADD COLUMN opening INTEGER NOT NULL DEFAULT 0;
`}

// statement is one that connections keep.
type statement int

const (
	begin statement = iota
	beginRead
	commitTx
	rollbackTx

	addWorkflow
	addPlan
	addInstance
	allWorkflows
	allPlans
	allInstances
	setInstance
	plansOfWorkflow

	insertExecution
	findExecution
	keyOfExecution
	advanceExecution
	setExecution
	setReady
	deleteExecution
	lastExecution
	ownedAfter
	holdingAfter
	owners
	readyOfPlan
	holdingOfPlan
	readyLater
	nearBy
	firstLater
	claimedBy
	expired
	firstExpiry

	readByKey
	readBySeq
	seqByKey
	listTimes
	listStates
	unread

	putLarge
	readLarge
	deletePart
	deleteLarge

	putCell
	deleteCell
	deleteCells
	readCells

	addMessage
	hasMessage
	deleteMessage
	deleteMessages
	countMessages
	readMessages

	putTask
	findTask
	deleteTask
	deleteTasks
	countTasks
	readTasks
	lastTask
	firstTasks
	dueTasks
	laterTask
	countDoing
	tasksOfDoer
	tasksOfCall
	queuesLater
	countTasksOfQueues
	readQueue
	pausedQueues
	pauseQueue
	paceQueue
	takeTask
	readyTask
	putTaskBack
	readTaken
	setTakes

	statements
)

// whole are the columns of an execution for its readers, with the names that it has only
// the numbers of.
const whole = `SELECT e.seq, w.name, e.name, e.run, p.fingerprint, e.codec, e.input, e.hash, e.generated, e.created, e.deadline, e.parent,
	i.node, i.incarnation, i.state, e.epoch, e.revision,
	e.state, e.due, e.unsettled, e.cancelled, e.finished, e.forget, e.output, e.frames, e.holding, e.packed
	FROM executions e CROSS JOIN plans p ON p.plan = e.plan CROSS JOIN workflows w ON w.workflow = e.workflow
	LEFT JOIN instances i ON i.instance = e.owner `

const kept = ` (e.expires IS NULL OR e.expires > ?) `

var texts = [statements]string{
	begin:      `BEGIN IMMEDIATE`,
	beginRead:  `BEGIN`,
	commitTx:   `COMMIT`,
	rollbackTx: `ROLLBACK`,

	addWorkflow:     `INSERT INTO workflows (workflow, name) VALUES (?, ?)`,
	addPlan:         `INSERT INTO plans (plan, workflow, fingerprint) VALUES (?, ?, ?)`,
	addInstance:     `INSERT INTO instances (instance, node, incarnation, state, until, opening) VALUES (?, ?, ?, ?, ?, ?)`,
	allWorkflows:    `SELECT workflow, name FROM workflows`,
	allPlans:        `SELECT plan, workflow, fingerprint FROM plans`,
	allInstances:    `SELECT instance, node, incarnation, state, until, opening FROM instances`,
	setInstance:     `UPDATE instances SET state = ?, until = ? WHERE instance = ?`,
	plansOfWorkflow: `SELECT plan FROM plans WHERE workflow = (SELECT workflow FROM workflows WHERE name = ?)`,

	insertExecution: `INSERT INTO executions (seq, name, workflow, plan, run, codec, input, hash, generated, created, deadline, parent,
		owner, epoch, revision, state, due, unsettled, cancelled, finished, forget, output, frames, released, ready, expires, holding, packed, later, takes, unclean)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)
		ON CONFLICT (name, workflow) DO NOTHING`,
	findExecution: `SELECT seq, plan, run, owner, epoch, revision, last_owner, last_epoch, last_revision, last_id,
		state, due, unsettled, cancelled, finished, forget, output, frames, released, ready, expires, takes, claim, unclean, typeof(input), holding, packed, later
		FROM executions WHERE name = ? AND workflow = ?`,
	keyOfExecution:   `SELECT workflow, name FROM executions WHERE seq = ?`,
	advanceExecution: `UPDATE executions SET revision = ?, last_owner = ?, last_epoch = ?, last_revision = ?, last_id = ?, due = ?, frames = ?, packed = ? WHERE seq = ?`,
	setExecution: `UPDATE executions SET owner = ?, epoch = ?, revision = ?, last_owner = ?, last_epoch = ?, last_revision = ?, last_id = ?,
		state = ?, due = ?, unsettled = ?, cancelled = ?, finished = ?, forget = ?, output = ?, frames = ?,
		released = ?, ready = ?, expires = ?, takes = ?, claim = ?, unclean = ?, holding = ?, packed = ?, later = ? WHERE seq = ?`,
	setReady:        `UPDATE executions SET ready = ?, later = ? WHERE seq = ?`,
	deleteExecution: `DELETE FROM executions WHERE seq = ?`,
	lastExecution:   `SELECT ifnull(max(seq), 0) FROM executions`,
	ownedAfter:      `SELECT seq FROM executions WHERE owner = ? AND seq > ? ORDER BY seq LIMIT ?`,
	holdingAfter:    `SELECT seq FROM executions INDEXED BY executions_holding WHERE owner = ? AND seq > ? AND holding = 1 ORDER BY seq LIMIT ?`,
	owners:          `SELECT DISTINCT owner FROM executions WHERE owner IS NOT NULL`,
	readyOfPlan:     `SELECT seq, ready FROM executions WHERE plan = ? AND ready <= ? ORDER BY ready LIMIT ?`,
	holdingOfPlan:   `SELECT seq, ready FROM executions INDEXED BY executions_holding_ready WHERE plan = ? AND ready <= ? AND holding = 1 ORDER BY ready LIMIT ?`,
	readyLater:      `SELECT ready FROM executions WHERE plan = ? AND ready > ? ORDER BY ready LIMIT 1`,
	nearBy:          `SELECT seq FROM executions WHERE later <= ? ORDER BY later, seq LIMIT ?`,
	firstLater:      `SELECT later FROM executions WHERE later IS NOT NULL ORDER BY later LIMIT 1`,
	claimedBy:       `SELECT seq FROM executions WHERE claim = ? AND owner = ? ORDER BY seq`,
	expired:         `SELECT seq FROM executions WHERE expires <= ? ORDER BY expires LIMIT ?`,
	firstExpiry:     `SELECT expires FROM executions WHERE expires IS NOT NULL ORDER BY expires LIMIT 1`,

	readByKey: whole + `WHERE e.name = ? AND e.workflow = (SELECT workflow FROM workflows WHERE name = ?) AND` + kept,
	readBySeq: whole + `WHERE e.seq = ? AND` + kept,
	seqByKey:  `SELECT e.seq FROM executions e WHERE e.name = ? AND e.workflow = (SELECT workflow FROM workflows WHERE name = ?) AND` + kept,
	listTimes: `SELECT created, seq, plan FROM executions INDEXED BY executions_time
		WHERE created >= ? AND (created, seq) < (?, ?) ORDER BY created DESC, seq DESC LIMIT ?`,
	listStates: `SELECT created, seq, plan, state FROM executions INDEXED BY executions_time
		WHERE created >= ? AND (created, seq) < (?, ?) ORDER BY created DESC, seq DESC LIMIT ?`,
	unread: `SELECT DISTINCT w.name, e.name FROM inbox m CROSS JOIN executions e ON e.seq = m.seq
		CROSS JOIN workflows w ON w.workflow = e.workflow
		WHERE e.owner = (SELECT instance FROM instances WHERE incarnation = ? AND node = ? AND state != 3) AND` + kept,

	putLarge:    `INSERT INTO large (seq, part, data) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET data = excluded.data`,
	readLarge:   `SELECT data FROM large WHERE seq = ? AND part = ?`,
	deletePart:  `DELETE FROM large WHERE seq = ? AND part = ?`,
	deleteLarge: `DELETE FROM large WHERE seq = ?`,

	putCell:     `INSERT INTO cells (seq, cell, data) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET data = excluded.data`,
	deleteCell:  `DELETE FROM cells WHERE seq = ? AND cell = ?`,
	deleteCells: `DELETE FROM cells WHERE seq = ?`,
	readCells:   `SELECT cell, data FROM cells WHERE seq = ?`,

	addMessage:     `INSERT INTO inbox (seq, id, n, data) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
	hasMessage:     `SELECT 1 FROM inbox WHERE seq = ? AND id = ?`,
	deleteMessage:  `DELETE FROM inbox WHERE seq = ? AND id = ?`,
	deleteMessages: `DELETE FROM inbox WHERE seq = ?`,
	countMessages:  `SELECT count(*), ifnull(max(n), 0) FROM inbox WHERE seq = ?`,
	readMessages:   `SELECT id, data FROM inbox WHERE seq = ? ORDER BY n`,

	putTask: `INSERT INTO tasks (seq, id, queue, priority, not_before, data, line, rank, added, plan, attempt, unclean)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)`,
	findTask:    `SELECT queue, priority, not_before, line, attempt, doer FROM tasks WHERE seq = ? AND id = ?`,
	deleteTask:  `DELETE FROM tasks WHERE seq = ? AND id = ?`,
	deleteTasks: `DELETE FROM tasks WHERE seq = ?`,
	countTasks:  `SELECT count(*) FROM tasks WHERE seq = ?`,
	readTasks:   `SELECT id, queue, priority, not_before, data FROM tasks WHERE seq = ? ORDER BY id`,
	lastTask:    `SELECT ifnull(max(added), 0) FROM tasks`,
	firstTasks:  `SELECT seq, id, rank, added FROM tasks WHERE queue = ? AND plan = ? AND line = 0 ORDER BY rank, added LIMIT ?`,
	dueTasks:    `SELECT seq, id, priority FROM tasks WHERE queue = ? AND line = 1 AND rank <= ?`,
	laterTask:   `SELECT rank FROM tasks WHERE queue = ? AND line = 1 ORDER BY rank LIMIT 1`,
	countDoing:  `SELECT count(*) FROM tasks WHERE queue = ? AND line = 2`,
	tasksOfDoer: `SELECT seq, id FROM tasks WHERE doer = ?`,
	tasksOfCall: `SELECT seq, id FROM tasks WHERE doer = ? AND call = ? AND queue = ? ORDER BY priority DESC, added LIMIT ?`,
	queuesLater: `SELECT DISTINCT queue FROM tasks WHERE line = 1`,

	countTasksOfQueues: `SELECT queue, line, count(*) FROM tasks GROUP BY queue, line`,
	readQueue:          `SELECT paused, taken FROM queues WHERE queue = ?`,
	pausedQueues:       `SELECT queue FROM queues WHERE paused = 1`,
	pauseQueue:         `INSERT INTO queues (queue, paused) VALUES (?, ?) ON CONFLICT DO UPDATE SET paused = excluded.paused`,
	paceQueue:          `INSERT INTO queues (queue, paused, taken) VALUES (?, 0, ?) ON CONFLICT DO UPDATE SET taken = excluded.taken`,
	takeTask:           `UPDATE tasks SET line = 2, rank = 0, attempt = ?, doer = ?, call = ? WHERE seq = ? AND id = ?`,
	readyTask:          `UPDATE tasks SET line = 0, rank = ? WHERE seq = ? AND id = ?`,
	putTaskBack:        `UPDATE tasks SET line = ?, rank = ?, doer = NULL, call = NULL, unclean = ? WHERE seq = ? AND id = ?`,
	readTaken: `SELECT w.name, e.name, e.run, t.queue, t.priority, t.not_before, t.data, t.attempt, t.unclean
		FROM tasks t CROSS JOIN executions e ON e.seq = t.seq CROSS JOIN workflows w ON w.workflow = e.workflow WHERE t.seq = ? AND t.id = ?`,
	setTakes: `UPDATE executions SET takes = ? WHERE seq = ?`,
}
