//! The one binary of integration tests: journeys through the real thing. It links once. A file that is not listed
//! here fails `tidy`.

mod bench;
mod building;
mod hooks;
mod job_ends;
mod pushing;
mod running;
mod sandboxing;
mod serving;
mod supervising;
mod support;
mod tidy;
mod verbs;
