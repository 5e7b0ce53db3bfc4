//! What projects take on the disk: measured, compared with limits, enlarged while it can be. Which directories a project
//! has is named in `layouts`; what may be removed is decided there where it was made. The calls are `system`'s.

pub mod enlarging;
pub mod fitting;
pub mod limits;
pub mod measure;

pub use measure::{Meter, Usage};
