//! How a language becomes a runnable tree: packs that speak the classic buildpack API. The packs themselves are the
//! top-level `buildpacks/`; here is which one a tree needs, what its scripts are given, and what they answered.
//! Starting the scripts is `sandbox/`'s, and when to do so `pipeline/`'s.

pub mod catalogue;
pub mod contract;
pub mod detect;
pub mod pack;

pub use catalogue::{builtin, install};
pub use contract::{BuildContext, BuildPaths, Call, ReleaseInfo};
pub use detect::{Choice, Tree, choose};
pub use pack::Pack;
