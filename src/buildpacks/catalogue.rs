//! The built-in packs: the top-level `buildpacks/`, embedded in the binary, and writing them to disk at start. What a
//! pack is stands in [`super::pack`].

use super::pack::{Pack, PackFile};
use crate::system::removal;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::LazyLock;

macro_rules! files {
    ($pack:literal: $($path:literal)*) => {
        vec![$(PackFile { path: $path, text: include_str!(concat!("../../buildpacks/", $pack, "/", $path)) }),*]
    };
}

static BUILTIN: LazyLock<Vec<Pack>> = LazyLock::new(|| {
    let sources = [
        files!("inline": "buildpack.toml"),
        files!("nodejs": "bin/compile" "bin/detect" "bin/release" "buildpack.toml" "lib.sh" "look.js"),
        files!("procfile": "bin/compile" "bin/detect" "bin/release" "buildpack.toml" "lib.sh"),
        files!("python": "bin/compile" "bin/detect" "bin/release" "buildpack.toml" "install.sh" "interpreter.sh" "lib.sh"),
        files!("rust": "bin/compile" "bin/detect" "bin/release" "buildpack.toml" "lib.sh"),
        files!("static": "bin/compile" "bin/detect" "bin/release" "buildpack.toml" "lib.sh" "root.sh"),
    ];
    let mut packs: Vec<Pack> = sources.into_iter().filter_map(Pack::read).collect();
    packs.sort_by_key(|pack| pack.order);
    packs
});

/// The packs of this binary, in the order in which they are tried.
pub fn builtin() -> &'static [Pack] {
    &BUILTIN
}

/// Makes `<directory>/<pack>/…` exactly the packs of this binary, owned by the caller, readable by everybody and
/// writable by nobody else. Files that are right already are not touched; foreign ones in a pack's directory go.
/// Errors name the path.
pub fn install(directory: &Path) -> io::Result<()> {
    make_directory(directory)?;
    for pack in builtin() {
        let home = directory.join(&pack.name);
        make_directory(&home)?;
        if pack.files.iter().any(|file| file.path.starts_with("bin/")) {
            make_directory(&home.join("bin"))?;
        }
        for file in &pack.files {
            install_file(&home, file).map_err(|error| at(&home.join(file.path), error))?;
        }
        let known: BTreeSet<&str> = pack.files.iter().map(|file| file.path).collect();
        remove_foreign(&home, "", &known)?;
    }
    Ok(())
}

fn make_directory(path: &Path) -> io::Result<()> {
    let made = fs::create_dir_all(path).and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)));
    made.map_err(|error| at(path, error))
}

fn install_file(home: &Path, file: &PackFile) -> io::Result<()> {
    let path = home.join(file.path);
    if let Ok(there) = fs::symlink_metadata(&path)
        && there.is_file()
        && there.permissions().mode() & 0o7777 == file.mode()
        && fs::read(&path).is_ok_and(|bytes| bytes == file.text.as_bytes())
    {
        return Ok(());
    }
    let fresh = home.join(".new");
    if fs::symlink_metadata(&fresh).is_ok() {
        fs::remove_file(&fresh)?;
    }
    let mut writer = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    writer.write_all(file.text.as_bytes())?;
    writer.set_permissions(fs::Permissions::from_mode(file.mode()))?;
    writer.sync_all()?;
    drop(writer);
    fs::rename(&fresh, &path)
}

/// Removes what is below `home/prefix` and not `known`, such as scripts of an older version.
fn remove_foreign(home: &Path, prefix: &str, known: &BTreeSet<&str>) -> io::Result<()> {
    let directory = home.join(prefix);
    for entry in fs::read_dir(&directory).map_err(|error| at(&directory, error))? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let is_directory = entry.file_type()?.is_dir();
        if is_directory && known.iter().any(|path| path.starts_with(&format!("{name}/"))) {
            remove_foreign(home, &format!("{name}/"), known)?;
        } else if is_directory {
            removal::remove_directory(&entry.path()).map_err(|error| at(&entry.path(), error))?;
        } else if !known.contains(name.as_str()) {
            fs::remove_file(entry.path()).map_err(|error| at(&entry.path(), error))?;
        }
    }
    Ok(())
}

fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn source() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("buildpacks")
    }

    /// Paths of all files below `directory`, links followed.
    fn files(directory: &Path) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.path().is_dir() {
                found.extend(files(&entry.path()).into_iter().map(|below| format!("{name}/{below}")));
            } else {
                found.insert(name);
            }
        }
        found
    }

    #[test]
    fn every_file_of_every_pack_is_in_the_binary() {
        let names: Vec<&str> = builtin().iter().map(|pack| pack.name.as_str()).collect();
        assert_eq!(names, ["inline", "python", "nodejs", "rust", "static", "procfile"]);
        for pack in builtin() {
            let embedded: BTreeSet<String> = pack.files.iter().map(|file| file.path.to_owned()).collect();
            assert_eq!(embedded, files(&source().join(&pack.name)), "{}", pack.name);
        }
    }

    #[test]
    fn installing_writes_runnable_scripts_and_a_second_time_nothing() {
        let there = tempfile::tempdir().unwrap();
        let directory = there.path().join("buildpacks");
        install(&directory).unwrap();
        let script = directory.join("python/bin/compile");
        let before = fs::metadata(&script).unwrap();
        assert_eq!(before.permissions().mode() & 0o777, 0o755);
        install(&directory).unwrap();
        assert_eq!(fs::metadata(&script).unwrap().modified().unwrap(), before.modified().unwrap());
        assert_eq!(files(&directory.join("python")), files(&source().join("python")));
    }

    #[test]
    fn installing_puts_right_what_somebody_changed() {
        let there = tempfile::tempdir().unwrap();
        install(there.path()).unwrap();
        let script = there.path().join("rust/bin/compile");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        fs::set_permissions(there.path().join("rust/bin/detect"), fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(there.path().join("rust/bin/supply"), "foreign").unwrap();
        fs::create_dir(there.path().join("rust/old")).unwrap();
        fs::remove_file(there.path().join("static/root.sh")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", there.path().join("static/root.sh")).unwrap();
        install(there.path()).unwrap();
        assert_eq!(fs::read(&script).unwrap(), fs::read(source().join("rust/bin/compile")).unwrap());
        assert_eq!(fs::metadata(there.path().join("rust/bin/detect")).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(files(&there.path().join("rust")), files(&source().join("rust")));
        assert!(fs::symlink_metadata(there.path().join("static/root.sh")).unwrap().is_file());
    }
}
