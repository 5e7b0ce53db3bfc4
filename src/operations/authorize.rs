//! Who may do what: one table. Pure. Finer roles take this function's place later without touching its callers.

use crate::model::actor::{Rank, Right};
use crate::model::{Actor, Code, Failure, ProjectName};

/// What somebody wants to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Look at a project, its logs, its code: fetch, show, log, releases.
    Read,
    /// Push code, deploy, cancel, roll back.
    Deploy,
    /// Read or change configuration and secrets: the pillar repository, `config`.
    Configure,
    /// Create and destroy projects.
    ManageProjects,
    /// Add, list and remove keys.
    ManageKeys,
    /// Look at the server: status, doctor.
    Inspect,
    /// Choose what becomes of a project in trouble.
    Rescue,
    /// Look up finished releases and take them away, as another server does.
    FetchReleases,
    /// Hand in a finished release: verified, stored, deployed.
    PushReleases,
    /// Run commands of one's own beside the application, with its data and its secrets.
    Run,
}

impl Action {
    pub const ALL: [Action; 10] = [
        Action::Read,
        Action::Deploy,
        Action::Configure,
        Action::ManageProjects,
        Action::ManageKeys,
        Action::Inspect,
        Action::Rescue,
        Action::FetchReleases,
        Action::PushReleases,
        Action::Run,
    ];

    fn words(self) -> &'static str {
        match self {
            Action::Read => "look at projects",
            Action::Deploy => "deploy",
            Action::Configure => "change configuration",
            Action::ManageProjects => "create or destroy projects",
            Action::ManageKeys => "manage keys",
            Action::Inspect => "inspect the server",
            Action::Rescue => "rescue projects",
            Action::FetchReleases => "fetch releases",
            Action::PushReleases => "hand in releases",
            Action::Run => "run commands",
        }
    }
}

/// `Ok` when the actor may. A project that the actor does not see is reported exactly like one that is not there.
///
/// # Errors
/// `NotFound` or `Denied`.
pub fn authorize(actor: &Actor, action: Action, project: Option<&ProjectName>) -> Result<(), Failure> {
    if let Some(project) = project.filter(|project| !actor.sees(project)) {
        return Err(no_project(project.as_str()));
    }
    let allowed = match (&actor.rank, action) {
        (Rank::Admin, _) => true,
        (Rank::Bot { rights, .. }, Action::FetchReleases) => rights.contains(&Right::ReleaseFetch),
        (Rank::Bot { rights, .. }, Action::PushReleases) => rights.contains(&Right::ReleasePush),
        (Rank::Bot { .. }, _) => false,
        (Rank::Developer | Rank::Limited(_), Action::Read | Action::Deploy | Action::Configure) => true,
        (Rank::Developer | Rank::Limited(_), Action::FetchReleases | Action::PushReleases) => true,
        // Who may read the secrets and deploy code that does anything gains nothing by a command.
        (Rank::Developer | Rank::Limited(_), Action::Run) => true,
        (Rank::Developer, Action::Inspect) => true,
        (Rank::Limited(_), Action::Inspect) => false,
        (Rank::Developer | Rank::Limited(_), Action::ManageProjects | Action::ManageKeys | Action::Rescue) => false,
    };
    if allowed {
        return Ok(());
    }
    let what = format!("{} may not {}", actor.name, action.words());
    Err(Failure::new(Code::Denied, what).hint("ask somebody with an admin key: commis key add NAME --admin"))
}

/// What is said of a project that is not there, or not for this actor.
pub fn no_project(name: &str) -> Failure {
    Failure::new(Code::NotFound, format!("no project \"{}\"", crate::notify::clean_line(name.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Door;

    fn actor(rank: Rank) -> Actor {
        Actor { name: "jane".into(), fingerprint: None, rank, door: Door::Ssh }
    }

    #[test]
    fn the_table_reads_as_documented() {
        let blog = ProjectName::parse("blog").unwrap();
        let row = |rank: Rank| {
            Action::ALL.map(|action| authorize(&actor(rank.clone()), action, Some(&blog)).is_ok()).map(u8::from)
        };
        assert_eq!(row(Rank::Admin), [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(row(Rank::Developer), [1, 1, 1, 0, 0, 1, 0, 1, 1, 1]);
        assert_eq!(row(Rank::Limited(vec![blog.clone()])), [1, 1, 1, 0, 0, 0, 0, 1, 1, 1]);
        let bot = |right| row(Rank::Bot { projects: vec![blog.clone()], rights: vec![right] });
        assert_eq!(bot(Right::ReleaseFetch), [0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(bot(Right::ReleasePush), [0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn a_forbidden_project_looks_absent() {
        let wiki = ProjectName::parse("wiki").unwrap();
        let blog = ProjectName::parse("blog").unwrap();
        let failure = authorize(&actor(Rank::Limited(vec![blog])), Action::Read, Some(&wiki)).unwrap_err();
        assert_eq!(failure, no_project("wiki"));
    }
}
