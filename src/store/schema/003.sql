-- Version 3: the tree of a replaced release is kept as it is, and a rollback takes it.

ALTER TABLE deployments ADD COLUMN tree_stamp TEXT;    -- what stat(2) said of its tree when it was known to be the release
ALTER TABLE deployments ADD COLUMN tree_taken INTEGER; -- archives/<this>/run became its tree, and was not compared yet
