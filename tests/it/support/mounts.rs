//! Mounts of a world, as the machine sees them.

use std::path::Path;
use std::process::Command;

/// Lines of the mount table for one point, bottom first.
pub fn mounted_on(point: &Path) -> Vec<String> {
    lines_below(point).into_iter().filter(|(at, _)| at == &point.display().to_string()).map(|(_, line)| line).collect()
}

/// Ends what a world that is over still shows at the `project/` of its projects, which outlives servers on purpose.
pub fn end_bound(root: &Path) {
    for (point, _) in lines_below(&root.join("srv")).into_iter().rev() {
        if point.ends_with("/project") {
            umount(Path::new(&point));
        }
    }
}

pub fn bind(from: &Path, onto: &Path) {
    let done = Command::new("mount").arg("--bind").arg(from).arg(onto).status();
    assert!(done.is_ok_and(|status| status.success()), "mount {}", onto.display());
}

pub fn umount(point: &Path) {
    let done = Command::new("umount").arg(point).status();
    assert!(done.is_ok_and(|status| status.success()), "umount {}", point.display());
}

/// Mount points at and below a path, with their lines.
fn lines_below(root: &Path) -> Vec<(String, String)> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("the mount table");
    let point = |line: &str| line.split(' ').nth(4).unwrap_or_default().to_owned();
    let all = table.lines().map(|line| (point(line), line.to_owned()));
    all.filter(|(point, _)| Path::new(point).starts_with(root)).collect()
}
