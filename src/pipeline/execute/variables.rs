//! The variables of scripts: which of the server's, the project's and the pillar's each may see.

use super::Execution;
use crate::hooks::contract::HookPaths;
use crate::hooks::{self, Hook, HookContext, Who};
use crate::layouts::places::COMMON_FILE;
use crate::pipeline::data::Restorer;
use crate::pipeline::facts;
use crate::pipeline::view;
use std::path::PathBuf;

/// Where Debian keeps the certificates that programs should trust.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

impl Execution<'_> {
    /// Settings of the project that packs understand as variables.
    pub(super) fn pack_settings(&self) -> Vec<(String, String)> {
        facts::pack_settings(&self.settings)
    }

    /// The server's own variables for builds: where tools are, mirrors. Values may hold passwords of mirrors, so they
    /// are the build user's alone.
    pub(super) fn platform_variables(&self) -> Vec<(String, String)> {
        let (tools, builds) = (self.places.view_tools(), &self.gathered.config.builds);
        let mut variables = Vec::new();
        if self.tools_directory().is_some_and(|path| path.join("uv").is_file()) {
            variables.push(("COMMIS_UV".to_owned(), tools.join("uv").display().to_string()));
        }
        variables.extend(builds.env.iter().map(|(name, value)| (name.clone(), value.clone())));
        variables.retain(|(name, _)| name != "PATH");
        let path = view::build_path(&self.places, builds.toolchains.len(), builds.env.get("PATH").map(String::as_str));
        variables.push(("PATH".to_owned(), path));
        variables
    }

    pub(super) fn tools_directory(&self) -> Option<PathBuf> {
        let configured = &self.gathered.config.builds.tools;
        let path = configured.clone().unwrap_or_else(|| self.context.places.tools());
        path.is_dir().then_some(path)
    }

    /// The variables of a hook.
    pub(super) fn hook_environment(&self, hook: Hook) -> Vec<(String, String)> {
        let run = self.places.run();
        let (home, pillar, mut platform) = match hook.runs_as() {
            Who::BuildUser => (self.places.cache().join("home"), self.build_environment(), self.platform_variables()),
            Who::AppUser => {
                let path = ("PATH".to_owned(), view::search_path(&self.places));
                (run.clone(), self.variables_of(hook), vec![path])
            }
        };
        platform.push(("SOURCE_VERSION".into(), self.commit_text()));
        let common = self.places.view_common().join(COMMON_FILE);
        let dumps = self.places.view_dumps();
        hooks::environment(HookContext {
            hook,
            project: &self.order.project.name,
            mode: self.gathered.mode,
            deployment: self.order.number,
            release: self.work.version,
            // Up to bundle the tree at work is seen at the run path, so that absolute paths are right.
            paths: HookPaths {
                build: &run,
                run: &run,
                data: &self.places.data(),
                dumps: matches!(hook, Hook::Backup | Hook::Restore).then_some(dumps.as_path()),
                common: &common,
                home: &home,
            },
            pillar: &pillar,
            platform: &platform,
        })
    }

    /// The hook of an older tree runs with what that was cooked with.
    fn variables_of(&self, hook: Hook) -> Vec<(String, String)> {
        let project = &self.order.project;
        let is_old = hook == Hook::Restore && self.facts.data.restorer == Some(Restorer::Old);
        let old = project.live.filter(|_| is_old).map(|live| self.context.store.release(&project.name, live));
        match old {
            Some(Ok(Some(release))) => release.variables(),
            _ => self.work.environment.clone(),
        }
    }

    /// The pillar's variables that builds may see.
    pub(super) fn build_environment(&self) -> Vec<(String, String)> {
        let allowed = |name: &str| self.settings.build.env.gives(name);
        self.work.environment.iter().filter(|(name, _)| allowed(name)).cloned().collect()
    }
}

/// The machine's certificates, when it has them in one file.
pub(super) fn certificates() -> Option<PathBuf> {
    let path = PathBuf::from(CERTIFICATES);
    path.is_file().then_some(path)
}
