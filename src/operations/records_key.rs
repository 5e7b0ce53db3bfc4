//! The record of a key, as `key list` answers it.

use crate::store::KeyRecord;
use crate::system::clock::rfc3339;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Key {
    pub name: String,
    pub fingerprint: String,
    pub rank: String,
    pub projects: Vec<String>,
    /// Of a bot: `release:push`, `release:fetch`.
    pub rights: Vec<String>,
    pub added_at: String,
}

impl Key {
    pub fn of(key: &KeyRecord) -> Self {
        use crate::model::actor::Rank;
        let (rank, projects) = match &key.rank {
            Rank::Admin => ("admin", Vec::new()),
            Rank::Developer => ("developer", Vec::new()),
            Rank::Limited(projects) => ("limited", projects.iter().map(ToString::to_string).collect()),
            Rank::Bot { projects, .. } => ("bot", projects.iter().map(ToString::to_string).collect()),
        };
        let rights = match &key.rank {
            Rank::Bot { rights, .. } => rights.iter().map(|right| right.as_str().to_owned()).collect(),
            Rank::Admin | Rank::Developer | Rank::Limited(_) => Vec::new(),
        };
        Self {
            name: key.name.clone(),
            fingerprint: key.fingerprint.clone(),
            rank: rank.to_owned(),
            projects,
            rights,
            added_at: rfc3339(key.added_at),
        }
    }
}
