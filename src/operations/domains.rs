//! `domains`, `maintenance`: how an application is found, and whether people are asked to come back later.

use super::Platform;
use super::authorize::{Action, authorize};
use super::records::{Domain, Reply};
use crate::model::{Actor, Code, Failure};
use crate::pipeline::traffic;
use crate::router::{Host, Name, Prefix};
use crate::store::{Claimed, ProjectRecord};
use crate::system::clock;
use crate::verbs::{DomainsVerb, MaintenanceVerb};

impl Platform {
    pub(super) fn domains(&self, actor: &Actor, verb: DomainsVerb) -> Result<Reply, Failure> {
        match verb {
            DomainsVerb::List { project } => self.list_domains(actor, &project),
            DomainsVerb::Add { project, name } => self.add_domain(actor, &project, &name),
            DomainsVerb::Remove { project, name } => self.remove_domain(actor, &project, &name),
        }
    }

    fn list_domains(&self, actor: &Actor, name: &str) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::Read, name)?;
        let own = Domain { name: self.context.host_of(&project.name), added_at: None, added_by: None };
        let rows = self.context.store.domains(&project.name)?;
        let others = rows.into_iter().map(|row| Domain {
            name: format!("{}{}", row.host, row.prefix),
            added_at: Some(clock::rfc3339(row.added_at)),
            added_by: Some(row.added_by),
        });
        Ok(Reply::Domains { domains: std::iter::once(own).chain(others).collect() })
    }

    fn add_domain(&self, actor: &Actor, name: &str, domain: &str) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::Read, name)?;
        authorize(actor, Action::ManageProjects, Some(&project.name))?;
        let wanted = read(domain)?;
        self.is_free_for_all(&project, &wanted)?;
        let (host, prefix) = (wanted.host.as_str(), wanted.prefix.as_str());
        let claimed = self.context.store.claim_domain(&project.name, (host, prefix), (&actor.name, clock::now()))?;
        if claimed == Claimed::Taken {
            // Whose it is, is for those who see that project.
            let failure = Failure::new(Code::Exists, format!("{host} belongs to another project"));
            return Err(failure.hint("it has to be removed there first: commis domains remove PROJECT HOST"));
        }
        self.context.route_again(&project.name)?;
        let done = format!("{name} answers at {host}{prefix}");
        Ok(Reply::Done { done, changed: claimed == Claimed::Now })
    }

    /// Names below the server's own domain are the projects' by their names.
    fn is_free_for_all(&self, project: &ProjectRecord, wanted: &Name) -> Result<(), Failure> {
        let domain = self.context.config().router.domain.clone();
        let host = wanted.host.as_str();
        if host != domain && !host.ends_with(&format!(".{domain}")) {
            return Ok(());
        }
        let failure = Failure::new(Code::Refused, format!("{host} is not to be given away: {domain} is the server's"));
        Err(failure.hint(format!("{} answers at {} by itself", project.name, self.context.host_of(&project.name))))
    }

    fn remove_domain(&self, actor: &Actor, name: &str, domain: &str) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::Read, name)?;
        authorize(actor, Action::ManageProjects, Some(&project.name))?;
        let Name { host, prefix } = read(domain)?;
        if !self.context.store.release_domain(&project.name, (host.as_str(), prefix.as_str()))? {
            let failure = Failure::new(Code::NotFound, format!("{name} has no name {host}{}", prefix.as_str()));
            return Err(failure.hint(format!("commis domains list {name}")));
        }
        self.context.route_again(&project.name)?;
        Ok(Reply::Done { done: format!("{name} does not answer at {host}{} any more", prefix.as_str()), changed: true })
    }

    pub(super) fn maintenance(&self, actor: &Actor, verb: MaintenanceVerb) -> Result<Reply, Failure> {
        let (name, on) = match verb {
            MaintenanceVerb::On { project } => (project, true),
            MaintenanceVerb::Off { project } => (project, false),
        };
        let project = self.project(actor, Action::Deploy, &name)?;
        let page = on.then(|| traffic::maintenance_page(&self.context, &project)).transpose()?.flatten();
        self.context.store.set_maintenance(&project.name, on)?;
        let own = if page.is_some() { "its own page" } else { "a page of ours" };
        self.context.maintain(&project.name, on.then_some(page))?;
        let done = match on {
            true => format!("{name} is in maintenance: people see {own}; commis maintenance off {name} ends it"),
            false => format!("{name} is not in maintenance"),
        };
        Ok(Reply::Done { done, changed: on != project.maintenance })
    }
}

/// `www.example.com` or `example.com/blog`.
fn read(text: &str) -> Result<Name, Failure> {
    let (host, path) = text.find('/').map_or((text, ""), |at| text.split_at(at));
    let wrong = |what: &str| {
        let shown = crate::notify::clean_line(text.as_bytes());
        Failure::new(Code::Usage, format!("\"{shown}\" {what}")).hint("commis domains add blog www.example.com")
    };
    if host.contains(':') {
        return Err(wrong("has a port; a name is for all ports"));
    }
    let host = Host::parse(host).ok_or_else(|| wrong("is no host name"))?;
    let prefix = Prefix::parse(path).ok_or_else(|| wrong("has a path that can be written in two ways"))?;
    Ok(Name { host, prefix })
}
