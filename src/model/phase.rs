//! The six phases of a deployment, in order, and the words people see for them.

/// A phase of a deployment. The order of the variants is the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Phase {
    Gather,
    PreInstall,
    Configure,
    Build,
    Bundle,
    Deploy,
}

impl Phase {
    pub const ALL: [Phase; 6] =
        [Phase::Gather, Phase::PreInstall, Phase::Configure, Phase::Build, Phase::Bundle, Phase::Deploy];

    /// Name in hooks, records and `COMMIS_PHASE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Gather => "gather",
            Phase::PreInstall => "pre_install",
            Phase::Configure => "configure",
            Phase::Build => "build",
            Phase::Bundle => "bundle",
            Phase::Deploy => "deploy",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == text)
    }
}
