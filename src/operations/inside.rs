//! `shell NAME --ps web.1` and `--crashed web.1`: inside what a process of the application sees, or saw when it ended by
//! itself, its own /tmp included.

use super::Platform;
use super::Talk;
use super::converse::say;
use super::one_off::Within;
use crate::model::{Code, Exit, Failure, ProcessName, Time};
use crate::pipeline::execute::no_release;
use crate::runtime::InstanceStatus;
use crate::store::{ProjectRecord, ReleaseRecord};
use crate::system::clock;

impl Platform {
    pub(super) fn inside_of(&self, project: &ProjectRecord, process: &str) -> Result<Within, Failure> {
        let instance = self.instance(project, process)?;
        let pid = instance.pid.ok_or_else(|| {
            let what = format!("{process} of {} does not run just now: {}", project.name, instance.condition.as_str());
            Failure::new(Code::NotFound, what).hint(format!("commis shell {} --crashed {process}", project.name))
        })?;
        Ok(Within { release: instance.release, namespace: format!("/proc/{pid}/ns/mnt").into() })
    }

    /// Says first how it ended.
    pub(super) async fn inside_of_crashed(
        &self,
        project: &ProjectRecord,
        process: &str,
        talk: &Talk,
    ) -> Result<Within, Failure> {
        let instance = self.instance(project, process)?;
        let crash = self.context.supervisor.crashed(&project.name, &instance.process).await.ok_or_else(|| {
            let failure = Failure::new(Code::NotFound, format!("nothing is kept of {process} of {}", project.name));
            failure.hint("[apps] keep_crashed in commis.toml says for how long what ended by itself is kept")
        })?;
        let ended = format!("{process} ended at {}: {}", clock::rfc3339(Time(crash.at)), Exit::from(crash.exit));
        say(&talk.0, &ended).await;
        say(&talk.0, &format!("variables: {}", crash.environment.join(" "))).await;
        for line in &crash.lines {
            say(&talk.0, &format!("  {process} | {}", line.text)).await;
        }
        Ok(Within { release: instance.release, namespace: crash.namespace })
    }

    pub(super) fn release_of(&self, project: &ProjectRecord, within: &Within) -> Result<ReleaseRecord, Failure> {
        let release = self.context.store.release(&project.name, within.release)?;
        release.ok_or_else(|| no_release(&project.name, within.release))
    }

    /// The newest instance of this name.
    fn instance(&self, project: &ProjectRecord, process: &str) -> Result<InstanceStatus, Failure> {
        let named = ProcessName::parse(process);
        let all = self.context.supervisor.status(&project.name);
        let found = all.iter().rev().find(|instance| Some(&instance.process) == named.as_ref()).cloned();
        found.ok_or_else(|| {
            let shown = crate::notify::clean_line(process.as_bytes());
            let names: Vec<String> = all.iter().map(|instance| instance.process.to_string()).collect();
            let failure = Failure::new(Code::NotFound, format!("no process \"{shown}\" of {} runs", project.name));
            if names.is_empty() { failure } else { failure.hint(format!("there is: {}", names.join(", "))) }
        })
    }
}
