//! What a deployment has in hand while it is between its switch and its verdict. Pure. Nothing else of the project is
//! started then: `run/` and `data/` may be of two releases, and nobody knows yet which one stays.

use crate::store::{DataState, DeploymentRecord, InPlace, Status, Switch};

/// The deployment among `unfinished` that has `run/` or `data/` in hand.
pub fn in_hand(unfinished: &[DeploymentRecord]) -> Option<&DeploymentRecord> {
    unfinished.iter().find(|row| {
        let switching = match row.switch {
            Switch::Before | Switch::Undone => false,
            Switch::Switching | Switch::Switched | Switch::Undoing => true,
        };
        let in_place = matches!(row.in_place, InPlace::Saved | InPlace::Restoring);
        let data = matches!(row.data.state, DataState::Touched | DataState::Restoring);
        row.status == Status::InProgress && (switching || in_place || data)
    })
}
