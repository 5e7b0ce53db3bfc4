-- Version 4: how many instances of each process type run, and whether a project was stopped.

CREATE TABLE formation (
    project  TEXT NOT NULL REFERENCES projects (name) ON DELETE CASCADE,
    kind     TEXT NOT NULL,    -- a process type of the Procfile
    quantity INTEGER NOT NULL,
    PRIMARY KEY (project, kind)
);
ALTER TABLE projects ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0; -- nothing of it is to run
