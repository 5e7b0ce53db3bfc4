//! Journeys through the real thing: real processes, files, mounts. One binary, so that it links once.

mod bench;
mod job_ends;
mod sandboxing;
mod supervising;
