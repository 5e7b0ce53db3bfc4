//! Who asks: the key or local administrator behind a request, and the door it came through.

use super::ProjectName;

/// Somebody whom a door has authenticated. Only doors make one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Actor {
    /// Name under which the key was added, or `root` for the control socket.
    pub name: String,
    /// `SHA256:...` of the key that signed; `None` for the local administrator.
    pub fingerprint: Option<String>,
    /// May manage keys and projects.
    pub rank: Rank,
    pub door: Door,
}

/// What a key was given when it was added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rank {
    /// Every verb on every project.
    Admin,
    /// Pushes and deploys every project; manages neither keys nor projects.
    Developer,
    /// Like a developer, but the named projects are the only ones that exist for it.
    Limited(Vec<ProjectName>),
    /// A program that does these things for these projects and nothing else.
    Bot { projects: Vec<ProjectName>, rights: Vec<Right> },
}

/// One thing that a bot may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Right {
    /// Hand a finished release in, which is then verified and deployed.
    ReleasePush,
    /// Look up releases and take them away.
    ReleaseFetch,
}

impl Right {
    pub const ALL: [Right; 2] = [Right::ReleasePush, Right::ReleaseFetch];

    pub fn as_str(self) -> &'static str {
        match self {
            Right::ReleasePush => "release:push",
            Right::ReleaseFetch => "release:fetch",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.as_str() == text)
    }
}

/// The way in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    Ssh,
    Control,
}

impl Actor {
    /// The administrator behind the control socket, which only root can open.
    pub fn local_root() -> Self {
        Self { name: "root".into(), fingerprint: None, rank: Rank::Admin, door: Door::Control }
    }

    pub fn is_admin(&self) -> bool {
        self.rank == Rank::Admin
    }

    /// Whether a project exists at all for this actor: absent and forbidden look the same.
    pub fn sees(&self, project: &ProjectName) -> bool {
        match &self.rank {
            Rank::Admin | Rank::Developer => true,
            Rank::Limited(projects) | Rank::Bot { projects, .. } => projects.contains(project),
        }
    }
}
