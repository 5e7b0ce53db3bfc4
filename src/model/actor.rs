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
            Rank::Limited(projects) => projects.contains(project),
        }
    }
}
