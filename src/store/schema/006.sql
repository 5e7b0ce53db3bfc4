-- Version 6: names of applications, and maintenance.

CREATE TABLE domains (
    host     TEXT NOT NULL,
    prefix   TEXT NOT NULL,    -- '' is the whole host
    project  TEXT NOT NULL REFERENCES projects (name) ON DELETE CASCADE,
    added_at INTEGER NOT NULL,
    added_by TEXT NOT NULL,
    PRIMARY KEY (host, prefix)
);
ALTER TABLE projects ADD COLUMN maintenance INTEGER NOT NULL DEFAULT 0; -- people are asked to come back later
