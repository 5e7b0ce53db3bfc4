-- Version 2: modes editable and final, releases that travel, data that is put back. Columns follow the section that needs
-- them; a word in a comment is the only word that stands there.

-- Data and rollback.
ALTER TABLE deployments ADD COLUMN backup TEXT NOT NULL DEFAULT 'none';      -- none | begun | done: archives/<number> has it | empty
ALTER TABLE deployments ADD COLUMN backup_at INTEGER;                        -- when the copy of data/ began
ALTER TABLE deployments ADD COLUMN backup_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deployments ADD COLUMN data TEXT NOT NULL DEFAULT 'untouched';   -- untouched | touched | restoring | restored
ALTER TABLE deployments ADD COLUMN data_asked INTEGER;                       -- a rollback that was asked to put this archive's data back
ALTER TABLE deployments ADD COLUMN data_from INTEGER;                        -- whose archive is put back
ALTER TABLE deployments ADD COLUMN data_inode INTEGER;                       -- of the data/ that is put back, written before the exchange
ALTER TABLE deployments ADD COLUMN discarded_from INTEGER;                   -- writes from then
ALTER TABLE deployments ADD COLUMN discarded_until INTEGER;                  -- until then were put aside
ALTER TABLE deployments ADD COLUMN downtime INTEGER;                         -- milliseconds in which nothing served
ALTER TABLE releases ADD COLUMN rollback TEXT NOT NULL DEFAULT 'code';       -- code | code+data | forbidden: what leaving it means

-- Releases that travel.
ALTER TABLE releases ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE releases ADD COLUMN origin TEXT NOT NULL DEFAULT 'cooked';       -- cooked | the environment it came from
ALTER TABLE releases ADD COLUMN signer TEXT;                                 -- principal whose signature was verified, for those from elsewhere
ALTER TABLE releases ADD COLUMN tested_at INTEGER;                           -- when it was live where it was cooked; NULL: not proved
ALTER TABLE keys ADD COLUMN rights TEXT NOT NULL DEFAULT '';                 -- for rank bot: release:push, release:fetch, separated by blanks

-- Editing in place.
ALTER TABLE projects ADD COLUMN remote TEXT NOT NULL DEFAULT 'git';          -- git | none: remote-less
ALTER TABLE projects ADD COLUMN filled INTEGER NOT NULL DEFAULT 0;           -- inode of the run/ that is edited and bound on project/; 0: none
ALTER TABLE projects ADD COLUMN edited_commit TEXT;                          -- what run/ was last brought to
-- no | fresh: made beside and exchanged | saved: archives/<number>/run is run/ as it was | restoring | restored | kept: run/ is not changed
ALTER TABLE deployments ADD COLUMN in_place TEXT NOT NULL DEFAULT 'no';

-- Storage.
ALTER TABLE projects ADD COLUMN disk_limit INTEGER;                          -- bytes of data/; NULL: none

CREATE TABLE destroyed (
    directory    TEXT PRIMARY KEY,          -- name below <projects>/.trash/
    name         TEXT NOT NULL,
    destroyed_at INTEGER NOT NULL,
    purge_at     INTEGER NOT NULL,
    state        TEXT NOT NULL DEFAULT 'destroying', -- destroying | destroyed | returning | purging
    mounted      TEXT NOT NULL DEFAULT '',  -- what was unmounted below its root: relative paths, one a line
    build_uid    INTEGER NOT NULL,          -- tells this project from a later one of the same name
    record       TEXT NOT NULL              -- JSON: the rows of every table that knows the project, for undestroy
) STRICT;
