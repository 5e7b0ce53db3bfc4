//! What is only known once the tree of a release is there: its hooks, its settings, its pillar defaults. Of one that is not
//! built here no commit need exist on this server.

use super::{Execution, missing};
use crate::config::pillar;
use crate::hooks::Hook;
use crate::model::{Failure, ProcessType};
use crate::notify::Redactor;
use crate::pipeline::{Goal, data, gather, recall, view};
use crate::system::Network;
use std::collections::BTreeMap;

impl Execution<'_> {
    /// The pillar over the defaults in the tree: today's for what comes from elsewhere, that of then when it goes back.
    /// Scripts and processes see it from here on.
    pub(super) fn adopt(&mut self) -> Result<(), Failure> {
        let goal = &self.order.goal;
        if matches!(goal, Goal::Commit { .. } | Goal::Standing { .. }) {
            return Ok(());
        }
        self.adopt_facts()?;
        let defaults = gather::tree_defaults(&self.work.tree)?;
        let pillar = self.gathered.pillar.clone();
        let merged = gather::assemble(&self.order.project.name, self.gathered, (defaults, pillar))?;
        let common = self.work.common.as_object_mut().ok_or_else(|| missing("a common tree"))?;
        common.insert("pillar".into(), pillar::to_json(&merged));
        if matches!(goal, Goal::Promotion(_)) {
            self.note_class()?;
            // Going back, it has the variables that it had.
            self.work.environment = pillar::environment(&merged)?;
            let variables = self.work.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            self.redactor = Redactor::new(variables);
        }
        Ok(())
    }

    /// Hooks and settings.
    fn adopt_facts(&mut self) -> Result<(), Failure> {
        let (hooks, settings) = recall::declared(&self.work.tree)?;
        self.facts.data = recall::data_facts(self.context, self.order, (&hooks, &settings))?;
        (self.facts.hooks, self.settings) = (hooks, settings);
        Ok(())
    }

    /// What going back from a release that is new here will take.
    fn note_class(&self) -> Result<(), Failure> {
        let manifest = self.work.manifest.as_ref().ok_or_else(|| missing("a manifest"))?;
        let has_line = manifest.base.processes.keys().any(ProcessType::is_release);
        let class = data::class(self.settings.data.rollback, &self.facts.hooks, has_line);
        let version = self.work.version.ok_or_else(|| missing("a release number"))?;
        Ok(self.context.store.note_class(&self.order.project.name, version, class)?)
    }

    /// Whether there is such a hook to run. A plan for a release whose tree is not there yet has all that there may be.
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
