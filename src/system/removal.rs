//! The one way to remove a directory of the server's own for rooms below `archives`: refuses when something is mounted
//! in it, before anything is lost. Trees of projects are removed by `trees`, which does not trust their owners.

use super::mount_table;
use std::io;
use std::path::Path;

/// Removes a directory with all that is in it.
pub fn remove_directory(path: &Path) -> io::Result<()> {
    let place = std::fs::canonicalize(path)?;
    let mounted = mount_table::at_or_below(&place).map_err(io::Error::other)?;
    if let Some(point) = mounted.first() {
        return Err(io::Error::other(format!("something is mounted on {}", point.display())));
    }
    std::fs::remove_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::mount::{MsFlags, mount, umount};

    #[test]
    fn what_is_mounted_below_stays_and_so_does_everything_else() {
        let place = tempfile::tempdir().unwrap();
        let (data, home) = (place.path().join("data"), place.path().join("home"));
        std::fs::create_dir_all(home.join("d")).unwrap();
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("precious"), "").unwrap();
        mount(Some(&data), &home.join("d"), None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let refused = remove_directory(&home);
        umount(&home.join("d")).unwrap();
        assert!(refused.unwrap_err().to_string().contains("something is mounted on"));
        assert!(data.join("precious").exists());
        remove_directory(&home).unwrap();
        assert!(!home.exists());
    }
}
