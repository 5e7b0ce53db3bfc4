-- Version 5: scheduled tasks.

CREATE TABLE task_clocks (
    project  TEXT NOT NULL REFERENCES projects (name) ON DELETE CASCADE,
    task     TEXT NOT NULL,
    schedule TEXT NOT NULL,                -- with its time zone; another one counts from when it was seen first
    reckoned INTEGER NOT NULL,             -- what was due up to then was started, or left out
    PRIMARY KEY (project, task)
) STRICT;

CREATE TABLE task_runs (
    project     TEXT NOT NULL REFERENCES projects (name) ON DELETE CASCADE,
    id          INTEGER NOT NULL,          -- counted for each project; <logs>/<project>/task-<id>.log
    task        TEXT NOT NULL,
    cause       TEXT NOT NULL,             -- schedule | missed | manual
    actor       TEXT,                      -- who asked, for manual
    due_at      INTEGER,
    started_at  INTEGER NOT NULL,          -- or when it was left out
    finished_at INTEGER,
    version     INTEGER,                   -- the release
    state       TEXT NOT NULL,             -- running | ended | skipped | interrupted
    exit        INTEGER,                   -- as a shell says it, for ended
    note        TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (project, id)
) STRICT;

-- One run of a task at a time, whoever starts it.
CREATE UNIQUE INDEX one_run_of_a_task ON task_runs (project, task) WHERE state = 'running';
