//! Where this process stands in each cgroup hierarchy, read from the two files in which the kernel says so. Pure;
//! nothing about a layout is assumed, since v1, v2 and both at once all occur, below any mount point.
//! What is done there stands in [`super`].

use std::path::{Path, PathBuf};

/// Directories of this process's own group, one per hierarchy that matters here. `None`: no such hierarchy in sight.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hierarchies {
    /// The v2 hierarchy, with whatever controllers it has.
    pub unified: Option<PathBuf>,
    /// v1 hierarchies.
    pub memory: Option<PathBuf>,
    pub pids: Option<PathBuf>,
    pub cpu: Option<PathBuf>,
    pub freezer: Option<PathBuf>,
}

/// Reads the contents of `/proc/self/cgroup` and `/proc/self/mountinfo`.
pub fn locate(self_cgroup: &str, mountinfo: &str) -> Hierarchies {
    let mounts: Vec<Mount> = mountinfo.lines().filter_map(parse_mount).collect();
    let v1 = |controller: &str| {
        let own = own_path(self_cgroup, |field| field.split(',').any(|name| name == controller))?;
        let fits = |mount: &&Mount| mount.kind == "cgroup" && mount.options.split(',').any(|o| o == controller);
        mounts.iter().rev().filter(fits).find_map(|mount| mount.directory_of(own))
    };
    let unified = own_path(self_cgroup, str::is_empty)
        .and_then(|own| mounts.iter().rev().filter(|mount| mount.kind == "cgroup2").find_map(|m| m.directory_of(own)));
    Hierarchies { unified, memory: v1("memory"), pids: v1("pids"), cpu: v1("cpu"), freezer: v1("freezer") }
}

/// Path of this process in the hierarchy whose controller field fits: `4:memory:/a/b`, `0::/a/b`.
fn own_path(self_cgroup: &str, fits: impl Fn(&str) -> bool) -> Option<&str> {
    self_cgroup.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        fits(controllers).then_some(path)
    })
}

struct Mount<'a> {
    root: String,
    point: String,
    kind: &'a str,
    options: &'a str,
}

impl Mount<'_> {
    /// Where `own`, a path of the hierarchy, is to be found below this mount; `None` when it lies outside of it.
    fn directory_of(&self, own: &str) -> Option<PathBuf> {
        let inside = Path::new(own).strip_prefix(&self.root).ok()?;
        let plain = inside.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        plain.then(|| {
            if inside.as_os_str().is_empty() { PathBuf::from(&self.point) } else { Path::new(&self.point).join(inside) }
        })
    }
}

/// `36 35 98:0 /root /point rw,relatime shared:1 - cgroup cgroup rw,memory`
fn parse_mount(line: &str) -> Option<Mount<'_>> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, point) = (unescape(left.next()?), unescape(left.next()?));
    let mut right = right.splitn(3, ' ');
    let (kind, _, options) = (right.next()?, right.next()?, right.next()?);
    Some(Mount { root, point, kind, options })
}

/// mountinfo writes space, tab, newline and backslash as `\040` and so on.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_machine_has_v1_limits_and_a_v2_tree_for_tracking() {
        let own = "8:pids:/\n4:memory:/session/7f\n1:cpu,cpuacct:/\n0::/\n";
        let mounts = "33 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
                      36 31 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      39 31 0:36 / /mnt/my\\040pids rw - cgroup cgroup rw,pids\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw shared:3 - cgroup2 cgroup2 rw\n";
        let found = locate(own, mounts);
        assert_eq!(found.unified, Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(found.memory, Some("/sys/fs/cgroup/memory/session/7f".into()));
        assert_eq!(found.pids, Some("/mnt/my pids".into()));
        assert_eq!(found.cpu, Some("/sys/fs/cgroup/cpu".into()));
        assert_eq!(found.freezer, None);
    }

    #[test]
    fn a_container_that_sees_only_its_own_subtree_is_understood() {
        let own = "0::/docker/abc/sub\n";
        let mounts = "41 31 0:38 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(locate(own, mounts).unified, Some("/sys/fs/cgroup/sub".into()));
    }

    #[test]
    fn a_group_outside_of_the_mount_is_not_guessed() {
        let mounts = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(locate("0::/../other\n", mounts), Hierarchies::default());
        assert_eq!(locate("garbage\n::\n", "garbage - cgroup2"), Hierarchies::default());
        assert_eq!(locate("0::/\n", ""), Hierarchies::default());
    }
}
