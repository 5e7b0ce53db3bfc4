//! Answers about the disk and the trash as people read them. Pure.

use super::columns::{moment, table};
use super::records::{Destroyed, Disk, ProjectDisk, Trimmed};
use crate::notify::clean_line;
use crate::notify::words::size;
use std::fmt::Write;

/// The largest kinds first; what takes nothing is not told.
pub fn disk(disk: &Disk) -> String {
    let mut out: String = disk.disks.iter().map(one_disk).collect();
    let _ = writeln!(out, "{} in all, {} free", size(disk.total_bytes), size(disk.free_bytes));
    // One says it all; of several each counts.
    for volume in disk.volumes.iter().filter(|_| disk.volumes.len() > 1) {
        let point = clean_line(volume.mounted_on.as_bytes());
        let _ = writeln!(out, "  {point}: {} free of {}", size(volume.free_bytes), size(volume.size_bytes));
    }
    out
}

fn one_disk(disk: &ProjectDisk) -> String {
    let limit = match disk.limit {
        Some(bytes) => format!("  data at most {}, {}", size(bytes), disk.limit_by),
        None => String::new(),
    };
    let mut out = format!("{}  {}{limit}\n", disk.project, size(disk.bytes));
    for warning in &disk.warnings {
        let _ = writeln!(out, "warning: {warning}");
    }
    let mut kinds: Vec<_> = disk.kinds.iter().filter(|kind| kind.bytes > 0).collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.bytes));
    let rows = kinds.iter().map(|kind| vec![format!("  {}", kind.kind), size(kind.bytes)]).collect();
    out + &table(rows)
}

pub fn trimmed(trimmed: &[Trimmed], (bytes, failed): (u64, u64), dry_run: bool) -> String {
    let row = |one: &Trimmed| {
        let stayed = one.stayed.as_ref().map(|why| format!("stays: {why}")).unwrap_or_default();
        vec![one.project.clone(), one.what.clone(), one.why.clone(), size(one.bytes), stayed]
    };
    let word = if dry_run { "would be freed" } else { "freed" };
    let mut out = table(trimmed.iter().map(row).collect());
    let _ = writeln!(out, "{} {word}", size(bytes));
    if failed > 0 {
        let _ = writeln!(out, "failed trees that are not old take {} more: commis disk trim --failed", size(failed));
    }
    out
}

pub fn fixed(project: &str, changed: u64, left_alone: &[String]) -> String {
    let mut out = format!("{project}: {changed} put right\n");
    for path in left_alone {
        let path = clean_line(path.as_bytes());
        let _ = writeln!(out, "warning: {path} has a wrong owner and was left alone");
    }
    out
}

pub fn trash(destroyed: &[Destroyed]) -> String {
    if destroyed.is_empty() {
        return "the trash is empty\n".to_owned();
    }
    let row = |one: &Destroyed| {
        vec![one.directory.clone(), one.project.clone(), one.state.clone(), format!("until {}", moment(&one.purge_at))]
    };
    table(destroyed.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::super::records::DiskVolume;
    use super::*;

    #[test]
    fn each_of_several_file_systems_says_what_is_free_there() {
        let volume = |mounted_on: &str, free_bytes| DiskVolume {
            mounted_on: mounted_on.into(),
            size_bytes: 20_000_000,
            free_bytes,
            free_inodes: None,
        };
        let volumes = vec![volume("/srv", 5_000_000), volume("/srv/blog/data", 0)];
        let mut all = Disk { disks: Vec::new(), total_bytes: 0, free_bytes: 5_000_000, free_inodes: None, volumes };
        assert!(disk(&all).ends_with("  /srv/blog/data: 0 B free of 20 MB\n"), "{}", disk(&all));
        all.volumes.pop();
        assert_eq!(disk(&all), "0 B in all, 5.0 MB free\n");
    }
}
