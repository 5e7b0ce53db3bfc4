//! The routes as a file, from which a router can start alone. Written by the server before a change is told, so that a
//! router that starts meanwhile has it too.

use super::table::{Entry, Table, Target};
use crate::system::files::{self, Durability, FileError, Placement};
use crate::system::{UserIds, reading};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    /// The boot in which its ports mean something.
    boot: String,
    entries: Vec<Entry>,
}

/// Puts the file in place, readable by `reader`. On return the disk has it.
pub fn write(path: &Path, table: &Table, reader: UserIds) -> Result<(), FileError> {
    let entries = table.entries().cloned().collect();
    let written = Written { version: VERSION, boot: boot(), entries };
    let text = serde_json::to_vec(&written).map_err(|error| FileError::new("write", path, error))?;
    let owner = Some(UserIds { uid: 0, gid: reader.gid });
    files::write(path, &text, Placement { mode: 0o640, owner, durability: Durability::Durable })
}

/// The routes of a file; none where there is no file. After a reboot the ports belong to nobody, so that only the names
/// are left.
pub fn read(path: &Path) -> io::Result<Table> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Table::default()),
        Err(error) => return Err(error),
    };
    let Written { version, boot: written_in, mut entries } = serde_json::from_slice(&text)?;
    if version != VERSION {
        return Err(io::Error::new(io::ErrorKind::Unsupported, format!("version {version}")));
    }
    if written_in != boot() {
        entries.iter_mut().for_each(|entry| entry.routes.target = Target::NoRelease);
    }
    Table::of(entries).map_err(io::Error::other)
}

fn boot() -> String {
    reading::boot_id().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProjectName;
    use crate::router::{Encryption, Host, InstanceAddress, Name, Routes};

    #[test]
    fn the_file_gives_back_what_was_written_and_no_ports_of_an_earlier_boot() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("routes.json");
        assert_eq!(read(&path).unwrap(), Table::default());
        let project = ProjectName::parse("blog").unwrap();
        let target = Target::Instances(vec![InstanceAddress::web(1, 4000)]);
        let names = vec![Name::whole(Host::parse("blog.test").unwrap())];
        let mut table = Table::default();
        table.set(Routes { project: project.clone(), names, target, encryption: Encryption::AsServer }).unwrap();
        write(&path, &table, UserIds::of(0)).unwrap();
        assert_eq!(read(&path).unwrap(), table);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace(&boot(), "another")).unwrap();
        assert_eq!(read(&path).unwrap().get(&project).unwrap().routes.target, Target::NoRelease);
        std::fs::write(&path, text.replace("\"version\":1", "\"version\":2")).unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::Unsupported);
        std::fs::write(&path, &text[..20]).unwrap();
        assert!(read(&path).is_err());
    }
}
