//! The one binary of integration tests: journeys through the real thing. It links once. A file that is not listed
//! here fails `tidy`.

mod bench;
mod clients;
mod job_ends;
mod pushing;
mod queueing;
mod refs;
mod sandboxing;
mod supervising;
mod support;
mod tidy;
