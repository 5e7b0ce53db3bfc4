//! The state of a project in trouble, as people read it. Pure.

use super::columns::{moment, table};
use crate::operations::records::Rescue;
use std::fmt::Write;

/// What is wrong, what is where, and the ways out, worst news first.
pub fn text(rescue: &Rescue) -> String {
    let unknown = || "unknown".to_owned();
    let mut out = match &rescue.trouble {
        Some(trouble) => format!("error: {} needs an admin: {trouble}\n", rescue.project),
        None => format!("{} does not need an admin\n", rescue.project),
    };
    let _ = writeln!(out, "  should be live  {}", rescue.live.as_deref().unwrap_or("nothing"));
    let _ = writeln!(out, "  in run/         {}", rescue.run.clone().unwrap_or_else(unknown));
    let _ = writeln!(out, "  data/           {}", rescue.data);
    let running = rescue.processes.iter().filter(|process| process.state == "running").count();
    let _ = writeln!(out, "  running         {running} of {} processes", rescue.processes.len());
    for kept in &rescue.failed {
        let parts = [(kept.tree, "tree"), (kept.data, "data")];
        let parts: Vec<&str> = parts.into_iter().filter(|(there, _)| *there).map(|(_, name)| name).collect();
        let _ = writeln!(out, "  put aside       archives/{}: {}", kept.archive, parts.join(", "));
    }
    for backup in &rescue.backups {
        let size = crate::notify::words::size(backup.size);
        let _ = writeln!(out, "  backup          archives/{} of {}, {size}", backup.deployment, moment(&backup.at));
    }
    let rows = rescue.choices.iter().map(|choice| vec![format!("  commis {}", choice.command), choice.what.clone()]);
    out + &table(rows.collect())
}
