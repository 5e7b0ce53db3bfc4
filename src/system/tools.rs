//! Programs of file systems that the kernel has no plain call for: a closed list, each with its arguments. They run as
//! root, with nothing of our environment, and are asked for through [`super::privileged`].

use super::UserIds;
use super::command::command;
use crate::model::{Code, Failure};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// Growing and limiting are done online, in seconds; one that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(600);
const PLACES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// One thing that a program does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tool {
    /// ext4 takes all of its device.
    GrowExt { device: PathBuf },
    /// xfs takes all of its device.
    GrowXfs { mounted: PathBuf },
    /// btrfs takes all of its device.
    GrowBtrfs { mounted: PathBuf },
    /// A directory that btrfs can limit.
    MakeSubvolume { path: PathBuf },
    /// btrfs counts what subvolumes take.
    CountSubvolumes { path: PathBuf },
    /// Most bytes of a subvolume; `None`: no limit.
    LimitSubvolume { path: PathBuf, bytes: Option<u64> },
    /// A directory becomes a project of xfs's quotas, by this number.
    MarkXfsProject { mounted: PathBuf, path: PathBuf, number: u32 },
    /// Most bytes of a project; `None`: no limit.
    LimitXfsProject { mounted: PathBuf, number: u32, bytes: Option<u64> },
}

impl Tool {
    /// Pure: the program's name and its arguments.
    pub fn words(&self) -> Vec<String> {
        let shown = |path: &Path| path.display().to_string();
        let said: &[&str] = match self {
            Tool::GrowExt { device } => &["resize2fs", &shown(device)],
            Tool::GrowXfs { mounted } => &["xfs_growfs", "-d", &shown(mounted)],
            Tool::GrowBtrfs { mounted } => &["btrfs", "filesystem", "resize", "max", &shown(mounted)],
            Tool::MakeSubvolume { path } => &["btrfs", "subvolume", "create", &shown(path)],
            Tool::CountSubvolumes { path } => &["btrfs", "quota", "enable", &shown(path)],
            Tool::LimitSubvolume { path, bytes } => {
                &["btrfs", "qgroup", "limit", &bytes.map_or("none".into(), |bytes| bytes.to_string()), &shown(path)]
            }
            Tool::MarkXfsProject { mounted, path, number } => {
                &["xfs_quota", "-x", "-c", &format!("project -s -p {} {number}", shown(path)), &shown(mounted)]
            }
            Tool::LimitXfsProject { mounted, number, bytes } => {
                &["xfs_quota", "-x", "-c", &format!("limit -p bhard={} {number}", bytes.unwrap_or(0)), &shown(mounted)]
            }
        };
        said.iter().map(|word| (*word).to_owned()).collect()
    }
}

/// Where a program of this name is installed.
pub fn find(name: &str) -> Option<PathBuf> {
    PLACES.iter().map(|place| Path::new(place).join(name)).find(|path| path.is_file())
}

/// Runs it to its end; what it says on standard error is the failure.
pub(super) async fn run(tool: &Tool) -> Result<(), Failure> {
    let words = tool.words();
    let (name, args) = words.split_first().ok_or_else(|| Failure::new(Code::Internal, "a tool without a name"))?;
    let program = find(name).ok_or_else(|| {
        let package = if name == "btrfs" {
            "btrfs-progs"
        } else if name == "resize2fs" {
            "e2fsprogs"
        } else {
            "xfsprogs"
        };
        Failure::new(Code::Internal, format!("{name} is not installed")).hint(format!("apt-get install {package}"))
    })?;
    let path = PLACES.join(":");
    let mut command = command(&program, args, Path::new("/"), UserIds::of(0), &[("PATH", &path), ("LC_ALL", "C")]);
    command.stderr(Stdio::piped());
    let failed = |error: &dyn std::error::Error| Failure::internal(&words.join(" "), error);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.map_err(|error| failed(&error))?;
    let output = output.map_err(|error| failed(&error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    let failure = Failure::new(Code::Internal, format!("{}: {}", words.join(" "), last.trim()));
    let denied = said.contains("Permission denied");
    Err(if denied { failure.hint("the server needs CAP_SYS_RESOURCE for that") } else { failure })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_a_list_of_arguments() {
        let path = PathBuf::from("/srv/p/data");
        let limit = |bytes| Tool::LimitSubvolume { path: path.clone(), bytes }.words().join(" ");
        assert_eq!(limit(Some(5_000)), "btrfs qgroup limit 5000 /srv/p/data");
        assert_eq!(limit(None), "btrfs qgroup limit none /srv/p/data");
        let mounted = PathBuf::from("/srv");
        let words = Tool::MarkXfsProject { mounted: mounted.clone(), path, number: 7 }.words();
        assert_eq!(words[1..], ["-x", "-c", "project -s -p /srv/p/data 7", "/srv"]);
        let words = Tool::LimitXfsProject { mounted, number: 7, bytes: None }.words();
        assert_eq!(words[3], "limit -p bhard=0 7");
    }
}
