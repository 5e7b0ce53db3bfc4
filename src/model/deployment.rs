//! One attempt to deploy: its number, what set it off, and how it ended.

use super::{Code, ReleaseVersion};
use std::fmt;

/// `#42`: counts the deployments of one project, never re-used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DeploymentNumber(pub u32);

impl fmt::Display for DeploymentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What set a deployment off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// A push to the deploy branch: the ref moves with the success.
    Push,
    /// `deploy`: the commit at the head of the deploy branch again, with today's pillar.
    Redeploy,
    /// `rollback`: an earlier release, no build.
    Rollback,
    /// `rescue`: the same for a project that needs an admin.
    Rescue,
    /// `promote`, `release push`: a release that was cooked elsewhere.
    Promote,
}

impl Trigger {
    pub const ALL: [Trigger; 4] = [Trigger::Push, Trigger::Redeploy, Trigger::Rollback, Trigger::Rescue];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trigger| trigger.as_str() == text)
    }

    /// Whether an earlier release is deployed again: nothing is built, no branch moves.
    pub fn goes_back(self) -> bool {
        matches!(self, Trigger::Rollback | Trigger::Rescue)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Trigger::Push => "push",
            Trigger::Redeploy => "redeploy",
            Trigger::Rollback => "rollback",
            Trigger::Rescue => "rescue",
            Trigger::Promote => "promote",
        }
    }
}

/// How a deployment ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Live(ReleaseVersion),
    NotLive(Code),
}
