//! Numeric users. Commis allocates uids from a configured range instead of editing /etc/passwd: nothing to clean up,
//! no lock to wait for, several servers side by side. Inside a job's view the number has a name (see [`super::job::Identity`]).

use serde::{Deserialize, Serialize};

/// A uid and the gid of the same number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UserIds {
    pub uid: u32,
    pub gid: u32,
}

impl UserIds {
    /// The user and group of this number.
    pub fn of(id: u32) -> Self {
        Self { uid: id, gid: id }
    }
}
