//! Which name leads to which project, and what answers for it. Pure: a value that is copied, changed and put in place
//! whole by `board`. A host belongs to one project; there is no default route, so an unknown host can never
//! reach anybody's application.

use super::names::{Host, Name, Prefix};
use crate::model::{ProcessName, ProcessType, ProjectName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Everything the router knows about one project; set in one step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Routes {
    #[serde(with = "project")]
    pub project: ProjectName,
    /// The longest prefix wins.
    pub names: Vec<Name>,
    pub target: Target,
    #[serde(default)]
    pub encryption: Encryption,
}

/// Whether clients have to speak TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Encryption {
    /// As the server's settings say.
    #[default]
    AsServer,
    Required,
    Optional,
}

/// What answers for a project.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Target {
    /// Any of these; the one with the fewest requests is asked. At least one.
    Instances(Vec<InstanceAddress>),
    /// The project is known and nothing of it serves: answered with a 503 page.
    NoRelease,
}

/// A process of an application that answers on a port of 127.0.0.1.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct InstanceAddress {
    /// `web.1`.
    #[serde(with = "process")]
    pub name: ProcessName,
    pub port: u16,
}

impl InstanceAddress {
    /// `web.<index>`, counted from 1.
    pub fn web(index: u32, port: u16) -> Self {
        Self { name: ProcessName { kind: ProcessType::web(), index }, port }
    }
}

/// Whether people are asked to come back later. Stays as it is over deployments.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Maintenance {
    #[default]
    Off,
    On {
        /// HTML of the project's own; else ours.
        page: Option<String>,
        /// What `Retry-After` says.
        retry_after: Duration,
    },
}

/// Why names were not given to a project.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum RouteRefused {
    #[error("host {} belongs to another project", .host.as_str())]
    Taken {
        host: Host,
        #[serde(with = "project")]
        owner: ProjectName,
    },
    #[error("a set of instances without one")]
    NoInstances,
    #[error("the router cannot be told: {0}")]
    NoRouter(String),
}

/// What a table holds of one project.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub routes: Routes,
    pub maintenance: Maintenance,
}

/// All routes of one server.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Table {
    entries: BTreeMap<ProjectName, Entry>,
    hosts: HashMap<Host, Leads>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Leads {
    project: ProjectName,
    /// The longest first.
    prefixes: Vec<Prefix>,
}

impl Table {
    /// The project that answers for a path of a host.
    pub fn find(&self, host: &Host, path: &str) -> Option<&ProjectName> {
        let leads = self.hosts.get(host)?;
        leads.prefixes.iter().any(|prefix| prefix.covers(path)).then_some(&leads.project)
    }

    pub fn get(&self, project: &ProjectName) -> Option<&Entry> {
        self.entries.get(project)
    }

    /// Puts the names and the target of a project in place of what it had. A host of another project is refused, and
    /// then nothing changes: it has to be removed there first.
    pub fn set(&mut self, routes: Routes) -> Result<(), RouteRefused> {
        if matches!(&routes.target, Target::Instances(set) if set.is_empty()) {
            return Err(RouteRefused::NoInstances);
        }
        for name in &routes.names {
            if let Some(leads) = self.hosts.get(&name.host).filter(|leads| leads.project != routes.project) {
                return Err(RouteRefused::Taken { host: name.host.clone(), owner: leads.project.clone() });
            }
        }
        let maintenance = self.remove(&routes.project).map(|entry| entry.maintenance).unwrap_or_default();
        for Name { host, prefix } in &routes.names {
            let new = || Leads { project: routes.project.clone(), prefixes: Vec::new() };
            let prefixes = &mut self.hosts.entry(host.clone()).or_insert_with(new).prefixes;
            prefixes.push(prefix.clone());
            prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.as_str().len()));
        }
        self.entries.insert(routes.project.clone(), Entry { routes, maintenance });
        Ok(())
    }

    /// `false`: no such project.
    pub fn maintain(&mut self, project: &ProjectName, maintenance: Maintenance) -> bool {
        let entry = self.entries.get_mut(project);
        entry.map(|entry| entry.maintenance = maintenance).is_some()
    }

    /// The project and its hosts are unknown from now on.
    pub fn remove(&mut self, project: &ProjectName) -> Option<Entry> {
        let entry = self.entries.remove(project)?;
        for name in &entry.routes.names {
            self.hosts.remove(&name.host);
        }
        Some(entry)
    }

    /// Every project, by name.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// A table of these; errors as of [`Table::set`].
    pub fn of(entries: Vec<Entry>) -> Result<Self, RouteRefused> {
        let mut table = Self::default();
        for Entry { routes, maintenance } in entries {
            let project = routes.project.clone();
            table.set(routes)?;
            table.maintain(&project, maintenance);
        }
        Ok(table)
    }
}

/// A project's name as text.
pub(super) mod project {
    use super::ProjectName;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(name: &ProjectName, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ProjectName, D::Error> {
        let text = String::deserialize(from)?;
        ProjectName::parse(&text).ok_or_else(|| D::Error::custom(format!("not a project: {text:?}")))
    }
}

/// `web.1` as text.
mod process {
    use super::{ProcessName, ProcessType};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(name: &ProcessName, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(name)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ProcessName, D::Error> {
        let text = String::deserialize(from)?;
        let parts = text.rsplit_once('.');
        let name = parts.and_then(|(kind, index)| {
            Some(ProcessName { kind: ProcessType::parse(kind)?, index: index.parse().ok()? })
        });
        name.ok_or_else(|| D::Error::custom(format!("not an instance: {text:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(name: &str) -> ProjectName {
        ProjectName::parse(name).unwrap()
    }

    fn routes(name: &str, names: &[&str], port: u16) -> Routes {
        let name_of = |text: &&str| {
            let (host, prefix) = text.split_once('/').map_or((*text, ""), |(host, _)| (host, &text[host.len()..]));
            Name { host: Host::parse(host).unwrap(), prefix: Prefix::parse(prefix).unwrap() }
        };
        let target = Target::Instances(vec![InstanceAddress::web(1, port)]);
        Routes {
            project: project(name),
            names: names.iter().map(name_of).collect(),
            target,
            encryption: Encryption::AsServer,
        }
    }

    fn found(table: &Table, host: &str, path: &str) -> Option<String> {
        table.find(&Host::parse(host).unwrap(), path).map(ToString::to_string)
    }

    #[test]
    fn a_set_replaces_all_names_and_the_target_of_its_project() {
        let mut table = Table::default();
        table.set(routes("blog", &["blog.test", "www.blog.test"], 1)).unwrap();
        table.set(routes("blog", &["blog.test", "new.blog.test"], 2)).unwrap();
        assert_eq!(found(&table, "blog.test", "/"), Some("blog".into()));
        assert_eq!(found(&table, "www.blog.test", "/"), None);
        assert_eq!(table.get(&project("blog")).unwrap().routes, routes("blog", &["blog.test", "new.blog.test"], 2));
    }

    #[test]
    fn a_host_of_another_project_cannot_be_taken() {
        let mut table = Table::default();
        table.set(routes("a", &["a.test/x"], 1)).unwrap();
        table.set(routes("b", &["b.test"], 2)).unwrap();
        let before = table.clone();
        for theft in ["a.test", "A.TEST", "a.test./y", "a.test:80/x"] {
            let taken = table.set(routes("b", &["more.b.test", theft], 2));
            assert!(matches!(taken, Err(RouteRefused::Taken { .. })), "{theft}");
        }
        assert_eq!(table, before);
    }

    #[test]
    fn paths_outside_of_all_prefixes_are_unknown() {
        let mut table = Table::default();
        table.set(routes("a", &["a.test/api", "a.test/api/v2", "all.test"], 1)).unwrap();
        assert_eq!(found(&table, "a.test", "/api/v2/x"), Some("a".into()));
        assert_eq!(found(&table, "a.test", "/other"), None);
        assert_eq!(found(&table, "all.test", "/other"), Some("a".into()));
    }

    #[test]
    fn maintenance_stays_over_a_deployment_and_goes_with_the_project() {
        let mut table = Table::default();
        let on = Maintenance::On { page: None, retry_after: Duration::from_secs(60) };
        assert!(!table.maintain(&project("a"), on.clone()));
        table.set(routes("a", &["a.test"], 1)).unwrap();
        assert!(table.maintain(&project("a"), on.clone()));
        table.set(routes("a", &["a.test"], 2)).unwrap();
        assert_eq!(table.get(&project("a")).unwrap().maintenance, on);
        table.remove(&project("a")).unwrap();
        table.set(routes("a", &["a.test"], 2)).unwrap();
        assert_eq!(table.get(&project("a")).unwrap().maintenance, Maintenance::Off);
    }

    #[test]
    fn a_set_without_instances_is_refused() {
        let mut empty = routes("a", &["a.test"], 1);
        empty.target = Target::Instances(Vec::new());
        assert_eq!(Table::default().set(empty), Err(RouteRefused::NoInstances));
    }

    #[test]
    fn a_table_survives_being_written_down() {
        let mut table = Table::default();
        table.set(routes("a", &["a.test/api", "all.test"], 1)).unwrap();
        table.set(routes("b", &["b.test"], 2)).unwrap();
        table
            .maintain(&project("b"), Maintenance::On { page: Some("<p>".into()), retry_after: Duration::from_secs(9) });
        let text = serde_json::to_string(&table.entries().collect::<Vec<_>>()).unwrap();
        assert_eq!(Table::of(serde_json::from_str(&text).unwrap()), Ok(table));
    }
}
