//! Journeys through the real thing: real processes, files, mounts. One binary, so that it links once.

mod sandboxing;
