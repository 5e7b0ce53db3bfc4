//! One real answer for each section of `docs/json.md` about the disk and the trash, every optional part of it present.

use commis::operations::records::{Destroyed, Disk, DiskKind, DiskVolume, ProjectDisk, Reply, Round, Trimmed};
use serde_json::Value;

pub fn samples() -> Vec<(&'static str, Value)> {
    let kind = DiskKind { kind: "data".into(), bytes: 1, inodes: 1 };
    let disk = ProjectDisk {
        project: "blog".into(),
        kinds: vec![kind.clone()],
        bytes: 1,
        limit: Some(2),
        limit_by: "l".into(),
        warnings: vec!["w".into()],
    };
    let volume = DiskVolume { mounted_on: "/srv".into(), size_bytes: 1, free_bytes: 1, free_inodes: Some(1) };
    let volumes = vec![volume.clone()];
    let all = Disk { disks: vec![disk.clone()], total_bytes: 1, free_bytes: 1, free_inodes: Some(1), volumes };
    let one = Trimmed { project: "blog".into(), what: "w".into(), why: "w".into(), bytes: 1, stayed: Some("s".into()) };
    let trimmed = Reply::Trimmed { trimmed: vec![one.clone()], bytes: 1, failed_bytes: 1, dry_run: false };
    let fixed = Reply::Fixed { project: "blog".into(), changed: 1, left_alone: vec!["data/x".into()] };
    let destroyed = Destroyed {
        project: "blog".into(),
        directory: "d".into(),
        state: "destroyed".into(),
        destroyed_at: "t".into(),
        purge_at: "t".into(),
    };
    let round = Round { at: "t".into(), projects: 1, busy: Vec::new(), done: Vec::new(), warnings: Vec::new() };
    let value = |answer: Result<Value, serde_json::Error>| answer.unwrap();
    vec![
        ("Disk", value(serde_json::to_value(all))),
        ("Disk volume", value(serde_json::to_value(volume))),
        ("Project disk", value(serde_json::to_value(disk))),
        ("Disk kind", value(serde_json::to_value(kind))),
        ("Trimming", value(serde_json::to_value(trimmed))),
        ("Trimmed", value(serde_json::to_value(one))),
        ("Permissions", value(serde_json::to_value(fixed))),
        ("Destroyed", value(serde_json::to_value(destroyed))),
        ("Housekeeping", value(serde_json::to_value(round))),
    ]
}
