//! Answers about what runs as people read them. Pure.

use super::columns::{moment, or_empty, table};
use super::records::{Domain, Instance, Ps};
use std::fmt::Write;

pub fn ps(ps: &Ps) -> String {
    let none = if ps.stopped { "stopped" } else { "nothing runs" };
    let mut out = or_empty(ps.processes.iter().map(row).collect(), none);
    if !ps.formation.is_empty() {
        let counts: Vec<String> = ps.formation.iter().map(|(kind, count)| format!("{kind}={count}")).collect();
        let _ = writeln!(out, "formation: {}", counts.join(" "));
    }
    out
}

fn row(one: &Instance) -> Vec<String> {
    let restarts = match one.restarts {
        0 => String::new(),
        1 => "1 restart".to_owned(),
        more => format!("{more} restarts"),
    };
    let ended = one.last_exit.as_ref().map(|exit| format!("last: {exit}")).unwrap_or_default();
    let since = format!("since {}", moment(&one.since));
    vec![one.process.clone(), one.state.clone(), one.release.clone(), since, restarts, ended]
}

pub fn domains(domains: &[Domain]) -> String {
    let row = |domain: &Domain| {
        let by = domain.added_by.as_ref().map(|by| format!("by {by}")).unwrap_or_default();
        let at = domain.added_at.as_ref().map(|at| format!("since {}", moment(at))).unwrap_or_default();
        vec![domain.name.clone(), at, by]
    };
    table(domains.iter().map(row).collect())
}
