//! The moments at which a project may have a script, in order, and as whom each runs. Pure.

use crate::model::Phase;

/// A script `.commis/hooks/<name>`. The order of the variants is the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Hook {
    PreInstall,
    Configure,
    Build,
    /// After hook or buildpack have built.
    PostBuild,
    /// Just before the release archive is made.
    Bundle,
    /// Before anything of the application changes: writes what a copy of `data/` would not hold (a database) to
    /// `$COMMIS_DUMPS`.
    Backup,
    /// The tree stands at the run path, nothing of it runs yet.
    Deploy,
    /// The new version runs.
    PostDeploy,
    /// Brings data to the new version.
    Upgrade,
    /// Last.
    PostInstall,
    /// Only when data is put back: reads again what `backup` wrote.
    Restore,
}

/// As which of the project's users a hook runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    BuildUser,
    AppUser,
}

impl Hook {
    pub const ALL: [Hook; 11] = [
        Hook::PreInstall,
        Hook::Configure,
        Hook::Build,
        Hook::PostBuild,
        Hook::Bundle,
        Hook::Backup,
        Hook::Deploy,
        Hook::PostDeploy,
        Hook::Upgrade,
        Hook::PostInstall,
        Hook::Restore,
    ];

    /// Name of the file in `.commis/hooks/`.
    pub fn name(self) -> &'static str {
        match self {
            Hook::PreInstall => "pre_install",
            Hook::Configure => "configure",
            Hook::Build => "build",
            Hook::PostBuild => "post_build",
            Hook::Bundle => "bundle",
            Hook::Backup => "backup",
            Hook::Deploy => "deploy",
            Hook::PostDeploy => "post_deploy",
            Hook::Upgrade => "upgrade",
            Hook::PostInstall => "post_install",
            Hook::Restore => "restore",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.name() == text)
    }

    /// The phase that a hook belongs to: it is skipped with it.
    pub fn phase(self) -> Phase {
        match self {
            Hook::PreInstall => Phase::PreInstall,
            Hook::Configure => Phase::Configure,
            Hook::Build | Hook::PostBuild => Phase::Build,
            Hook::Bundle => Phase::Bundle,
            Hook::Backup | Hook::Deploy | Hook::PostDeploy | Hook::Upgrade | Hook::PostInstall | Hook::Restore => {
                Phase::Deploy
            }
        }
    }

    /// Up to bundle a hook works on the tree that is built, from deploy on it is part of the application.
    pub fn runs_as(self) -> Who {
        match self.phase() {
            Phase::Gather | Phase::PreInstall | Phase::Configure | Phase::Build | Phase::Bundle => Who::BuildUser,
            Phase::Deploy => Who::AppUser,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_follow_the_phases_and_change_the_user_with_the_deployment() {
        let table: Vec<String> = Hook::ALL
            .into_iter()
            .map(|hook| format!("{} in {} as {:?}", hook.name(), hook.phase().as_str(), hook.runs_as()))
            .collect();
        assert_eq!(
            table,
            [
                "pre_install in pre_install as BuildUser",
                "configure in configure as BuildUser",
                "build in build as BuildUser",
                "post_build in build as BuildUser",
                "bundle in bundle as BuildUser",
                "backup in deploy as AppUser",
                "deploy in deploy as AppUser",
                "post_deploy in deploy as AppUser",
                "upgrade in deploy as AppUser",
                "post_install in deploy as AppUser",
                "restore in deploy as AppUser",
            ]
        );
        assert!(Hook::ALL.is_sorted_by_key(|hook| hook.phase()));
        assert!(Hook::ALL.into_iter().all(|hook| Hook::parse(hook.name()) == Some(hook)));
    }
}
