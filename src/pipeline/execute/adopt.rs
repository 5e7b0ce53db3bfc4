//! What is only known once the tree of a release from elsewhere is there: its hooks, its settings, its pillar defaults.
//! No commit of it may exist on this server.

use super::{Execution, missing};
use crate::config::pillar;
use crate::hooks::{self, Hook, Who};
use crate::model::{Failure, ProcessType};
use crate::notify::Redactor;
use crate::pipeline::data::{self, DataFacts};
use crate::pipeline::recall::live_hooks;
use crate::pipeline::{Goal, gather, health, view};
use crate::store::ReleaseRecord;
use crate::system::Network;
use crate::system::reading::is_program;
use std::collections::{BTreeMap, BTreeSet};

impl Execution<'_> {
    /// Today's pillar over the defaults in the tree; scripts and processes see it from here on.
    pub(super) fn adopt(&mut self) -> Result<(), Failure> {
        if !self.work.release.as_ref().is_some_and(ReleaseRecord::is_from_elsewhere) {
            return Ok(());
        }
        self.adopt_facts()?;
        if !matches!(self.order.goal, Goal::Promotion(_)) {
            // Going back, it has the variables that it had.
            return Ok(());
        }
        let defaults = gather::tree_defaults(&self.work.tree)?;
        let pillar = self.gathered.pillar.clone();
        let merged = gather::assemble(&self.order.project.name, self.gathered, (defaults, pillar))?;
        self.work.environment = pillar::environment(&merged)?;
        let variables = self.work.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.redactor = Redactor::new(variables);
        let common = self.work.common.as_object_mut().ok_or_else(|| missing("a common tree"))?;
        common.insert("pillar".into(), pillar::to_json(&merged));
        Ok(())
    }

    /// Hooks and settings, and with them what going back will take.
    fn adopt_facts(&mut self) -> Result<(), Failure> {
        let is_there = |hook: &Hook| is_program(&self.work.tree.join(hooks::DIRECTORY).join(hook.name()));
        let there: BTreeSet<Hook> =
            Hook::ALL.into_iter().filter(|hook| hook.runs_as() == Who::AppUser).filter(is_there).collect();
        self.settings = health::settings(&self.work.tree)?;
        self.facts.data = DataFacts {
            policy: self.settings.data.backup,
            declared: self.settings.data.rollback,
            asked: self.facts.data.asked,
            restorer: data::restorer(&there, &live_hooks(&self.places)),
        };
        let manifest = self.work.manifest.as_ref().ok_or_else(|| missing("a manifest"))?;
        let has_line = manifest.base.processes.keys().any(ProcessType::is_release);
        let class = data::class(self.settings.data.rollback, &there, has_line);
        self.facts.hooks = there;
        let version = self.work.version.ok_or_else(|| missing("a release number"))?;
        Ok(self.context.store.note_class(&self.order.project.name, version, class)?)
    }

    /// Whether there is such a hook to run. A plan for a release from elsewhere has all that there may be.
    pub(super) fn has_hook(&self, hook: Hook) -> bool {
        // What reads a dump again may be the older release's.
        hook == Hook::Restore || self.facts.hooks.contains(&hook)
    }

    /// What hooks from deploy on and the `release:` line reach.
    pub(super) fn deployment_network(&self) -> Network {
        let most = self.gathered.config.finals.network;
        view::deployment_network(self.gathered.mode, most, self.settings.network)
    }

    /// The variables of a release from elsewhere are this server's: they reach the ledger once the release is known to
    /// be well, so that it starts with them again after a crash.
    pub(super) fn note_environment(&self) -> Result<(), Failure> {
        let (Goal::Promotion(_), Some(version)) = (&self.order.goal, self.work.version) else { return Ok(()) };
        let map: BTreeMap<&str, &str> =
            self.work.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let json = serde_json::to_string(&map).unwrap_or_else(|_| "{}".into());
        let pillar = self.gathered.pillar_commit.as_ref();
        Ok(self.context.store.note_environment(&self.order.project.name, version, (&json, pillar))?)
    }
}
