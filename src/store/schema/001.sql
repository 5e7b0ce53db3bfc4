-- Version 1. Times are milliseconds since 1970 UTC. Words in status, code, mode and trigger are those of the model.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE keys (
    name        TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    line        TEXT NOT NULL,             -- algorithm and base64, no comment
    rank        TEXT NOT NULL,             -- admin | developer | limited
    projects    TEXT NOT NULL,             -- names separated by blanks, for rank limited
    added_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE projects (
    name            TEXT PRIMARY KEY,
    mode            TEXT,                  -- NULL: the platform's default
    build_uid       INTEGER NOT NULL,
    app_uid         INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    created_by      TEXT NOT NULL,
    live_version    INTEGER,
    next_deployment INTEGER NOT NULL DEFAULT 1,
    next_version    INTEGER NOT NULL DEFAULT 1,
    trouble         TEXT                   -- why an admin is needed; NULL when all is well
) STRICT;

CREATE TABLE deployments (
    project         TEXT NOT NULL REFERENCES projects (name) ON DELETE CASCADE,
    number          INTEGER NOT NULL,
    trigger         TEXT NOT NULL,
    mode            TEXT NOT NULL,
    ref             TEXT,
    commit_id       TEXT,
    previous_commit TEXT,
    pillar_commit   TEXT,
    subject         TEXT NOT NULL DEFAULT '',
    actor           TEXT NOT NULL,
    status          TEXT NOT NULL,         -- queued | in_progress | success | failure | error | inactive
    code            TEXT,
    reason          TEXT,
    rolled_back     INTEGER NOT NULL DEFAULT 0,
    version         INTEGER,               -- the release that it made or chose
    tree            TEXT,                  -- name below deploy/
    tree_inode      INTEGER,               -- of the new tree, written before the exchange: tells where it is now
    switch          TEXT NOT NULL DEFAULT 'before', -- before | switching | switched | undoing | undone
    queued_at       INTEGER NOT NULL,
    started_at      INTEGER,
    finished_at     INTEGER,
    PRIMARY KEY (project, number)
) STRICT;

CREATE TABLE steps (
    project      TEXT NOT NULL,
    number       INTEGER NOT NULL,
    position     INTEGER NOT NULL,
    phase        TEXT NOT NULL,
    name         TEXT NOT NULL,
    status       TEXT NOT NULL,            -- done | skipped | failed
    started_at   INTEGER NOT NULL,
    microseconds INTEGER NOT NULL,
    note         TEXT NOT NULL,
    PRIMARY KEY (project, number, position),
    FOREIGN KEY (project, number) REFERENCES deployments (project, number) ON DELETE CASCADE
) STRICT;

CREATE TABLE releases (
    project       TEXT NOT NULL REFERENCES projects (name) ON DELETE CASCADE,
    version       INTEGER NOT NULL,
    commit_id     TEXT NOT NULL,
    pillar_commit TEXT,
    file_name     TEXT NOT NULL,
    sha256        TEXT NOT NULL,
    bytes         INTEGER NOT NULL,
    manifest      TEXT NOT NULL,           -- JSON, as in the archive
    environment   TEXT NOT NULL,           -- JSON object: the app's variables when it was cooked
    served        INTEGER,                 -- the deployment that made it live last
    pruned        INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL,
    PRIMARY KEY (project, version)
) STRICT;
