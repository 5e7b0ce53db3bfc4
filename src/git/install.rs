//! Puts the hooks where git looks for them. A hook is this program itself under another name: a link where the git user
//! can reach the binary, else a copy. Top-level `hooks/README.md` describes the hook to people.

use crate::system::UserIds;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

/// Answers each push: `main` started under this name goes to [`super::relay::run_relay`].
pub const PROC_RECEIVE: &str = "proc-receive";
/// Makes what git moved itself durable: goes to [`super::relay::run_reference_transaction`].
pub const REFERENCE_TRANSACTION: &str = "reference-transaction";

/// Fills `directory` (made if missing, root's, 0755) with the hooks for `exe`. Cheap when nothing has changed. It is an
/// error when `user` could not reach `directory`: then no push could work.
pub fn install_hooks(directory: &Path, exe: &Path, user: UserIds) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    if let Some(closed) = closed_to(&directory.canonicalize()?, user)? {
        let what = format!("{}: the git user (uid {}) cannot enter it to run hooks", closed.display(), user.uid);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    let exe = exe.canonicalize()?;
    let hook = directory.join(PROC_RECEIVE);
    if closed_to(&exe, user)?.is_none() {
        link(&hook, &exe)?;
    } else {
        copy(&hook, &exe)?;
    }
    link(&directory.join(REFERENCE_TRANSACTION), Path::new(PROC_RECEIVE))
}

fn link(hook: &Path, target: &Path) -> io::Result<()> {
    if fs::read_link(hook).is_ok_and(|known| known == target) {
        return Ok(());
    }
    replace(hook, |fresh| symlink(target, fresh))
}

fn copy(hook: &Path, exe: &Path) -> io::Result<()> {
    let ours = fs::metadata(exe)?;
    let same = |hook: fs::Metadata| hook.is_file() && hook.len() == ours.len() && hook.mtime() == ours.mtime();
    if fs::symlink_metadata(hook).is_ok_and(same) {
        return Ok(());
    }
    replace(hook, |fresh| {
        fs::copy(exe, fresh)?;
        fs::set_permissions(fresh, fs::Permissions::from_mode(0o755))?;
        let file = fs::File::options().write(true).open(fresh)?;
        file.set_modified(ours.modified()?)?;
        file.sync_all()
    })
}

/// The first part of an absolute path that `user` may not pass or run, if any.
fn closed_to(path: &Path, user: UserIds) -> io::Result<Option<&Path>> {
    let mut parts: Vec<&Path> = path.ancestors().collect();
    parts.reverse();
    for part in parts {
        let metadata = fs::metadata(part)?;
        let bit = match (metadata.uid() == user.uid, metadata.gid() == user.gid) {
            (true, _) => 0o100,
            (false, true) => 0o010,
            (false, false) => 0o001,
        };
        if metadata.mode() & bit == 0 {
            return Ok(Some(part));
        }
    }
    Ok(None)
}

fn replace(target: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let fresh = target.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    make(&fresh)?;
    fs::rename(&fresh, target)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: u32 = 399_001;

    fn place() -> (tempfile::TempDir, std::path::PathBuf) {
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let exe = place.path().join("bin/commis");
        fs::create_dir(place.path().join("bin")).unwrap();
        fs::write(&exe, "program").unwrap();
        fs::set_permissions(&exe, fs::Permissions::from_mode(0o755)).unwrap();
        (place, exe)
    }

    #[test]
    fn a_program_within_reach_is_linked() {
        let (place, exe) = place();
        let hooks = place.path().join("hooks");
        install_hooks(&hooks, &exe, UserIds::of(USER)).unwrap();
        install_hooks(&hooks, &exe, UserIds::of(USER)).unwrap();
        assert_eq!(fs::read_link(hooks.join(PROC_RECEIVE)).unwrap(), exe.canonicalize().unwrap());
        assert_eq!(fs::read_to_string(hooks.join(REFERENCE_TRANSACTION)).unwrap(), "program");
    }

    #[test]
    fn a_program_out_of_reach_is_copied_and_kept_up_to_date() {
        let (place, exe) = place();
        let hooks = place.path().join("hooks");
        fs::set_permissions(exe.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
        install_hooks(&hooks, &exe, UserIds::of(USER)).unwrap();
        let hook = hooks.join(PROC_RECEIVE);
        assert!(fs::symlink_metadata(&hook).unwrap().is_file());
        let first = fs::metadata(&hook).unwrap().ino();
        install_hooks(&hooks, &exe, UserIds::of(USER)).unwrap();
        assert_eq!(fs::metadata(&hook).unwrap().ino(), first);
        fs::write(&exe, "newer program").unwrap();
        install_hooks(&hooks, &exe, UserIds::of(USER)).unwrap();
        assert_eq!(fs::read_to_string(&hook).unwrap(), "newer program");
    }

    #[test]
    fn hooks_that_git_could_not_reach_are_an_error_at_once() {
        let (place, exe) = place();
        let closed = place.path().join("state");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let error = install_hooks(&closed.join("hooks"), &exe, UserIds::of(USER)).unwrap_err();
        assert!(error.to_string().contains("cannot enter it"), "{error}");
    }
}
