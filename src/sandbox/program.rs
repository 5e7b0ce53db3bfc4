//! Finding the program of a job as a shell would, and saying in plain words why one cannot be started.
//! Looks at files, changes nothing. Called inside the view, as the job's user.

use nix::errno::Errno;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The file that `program` means: itself when it has a slash, else the first executable of that name in `path`.
pub fn find(program: &str, path: Option<&str>) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program));
    }
    let candidates =
        path?.split(':').filter(|directory| directory.starts_with('/')).map(|d| Path::new(d).join(program));
    candidates.into_iter().find(|file| is_executable(file))
}

/// Why the kernel did not start `file`, for the person who wrote it.
pub fn explain(file: &Path, error: Errno) -> String {
    let name = file.display();
    match error {
        Errno::ENOENT | Errno::ENOTDIR if !file.exists() => format!("{name}: no such file"),
        Errno::ENOENT => match interpreter(file) {
            Some(line) => format!("{name}: bad interpreter: {line}: no such file"),
            None => format!("{name}: the program loader that it needs is missing"),
        },
        Errno::EACCES if file.is_dir() => format!("{name} is a directory"),
        Errno::EACCES if !is_executable(file) => format!("{name} is not executable (chmod +x)"),
        Errno::EACCES => match interpreter(file) {
            Some(line) => format!("{name}: bad interpreter: {line}: may not be executed"),
            None => format!("{name}: may not be executed from where it is"),
        },
        Errno::ENOEXEC => format!("{name} is neither a program of this machine nor a script that begins with #!"),
        Errno::E2BIG => format!("{name}: arguments and environment are too large"),
        other => format!("{name}: {}", other.desc().to_lowercase()),
    }
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// What stands behind `#!` in the first line; a carriage return is made visible.
fn interpreter(file: &Path) -> Option<String> {
    let mut start = [0u8; 256];
    let count = fs::File::open(file).ok()?.read(&mut start).ok()?;
    let line = start.get(..count)?.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    Some(String::from_utf8_lossy(line).trim_start().replace('\r', "\\r"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_looked_up_and_a_path_is_not() {
        assert_eq!(find("sh", Some("/nowhere:/bin")), Some("/bin/sh".into()));
        assert_eq!(find("sh", None), None);
        assert_eq!(find("sh", Some("bin:.")), None, "relative directories are nobody's PATH");
        assert_eq!(find("./x", None), Some("./x".into()));
    }

    #[test]
    fn a_script_with_windows_line_ends_is_explained() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("build");
        fs::write(&script, "#!/bin/bash\r\necho\r\n").unwrap();
        assert!(explain(&script, Errno::EACCES).ends_with("build is not executable (chmod +x)"));
        assert!(explain(&script, Errno::ENOENT).ends_with("build: bad interpreter: /bin/bash\\r: no such file"));
        assert!(explain(&directory.path().join("absent"), Errno::ENOENT).ends_with("absent: no such file"));
    }
}
