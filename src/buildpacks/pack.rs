//! What a pack is: the content of its `buildpack.toml` and its files. Pure. Which packs there are is in
//! [`super::catalogue`]; which one a tree needs, in [`super::detect`].

use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// A built-in pack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pack {
    /// Its directory and how people ask for it: `python`.
    pub name: String,
    /// How people see it: `Static site`.
    pub summary: String,
    /// Packs are tried in this order.
    pub order: u32,
    pub detection: Detection,
    pub compile: Compile,
    /// Settings (names of variables) that only the scripts understand.
    pub steered_by: Vec<String>,
    /// What `bin/release` says, as far as that follows from the file list: the first rule whose file exists.
    pub release: Vec<ReleaseRule>,
    pub files: Vec<PackFile>,
}

/// What makes a pack the right one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Detection {
    /// One of these files is there.
    AnyFile(Vec<String>),
    /// All of these files are there and executable.
    Executables(Vec<String>),
}

/// Whether `bin/compile` changes the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compile {
    #[default]
    Script,
    Nothing,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRule {
    pub file: String,
    /// Command of the web process.
    pub web: String,
}

/// One file of a pack, as it is written to disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackFile {
    /// Relative to the pack: `bin/compile`.
    pub path: &'static str,
    pub text: &'static str,
}

impl PackFile {
    /// Permission bits: scripts in `bin/` are executable.
    pub fn mode(&self) -> u32 {
        if self.path.starts_with("bin/") { 0o755 } else { 0o644 }
    }
}

impl Pack {
    /// Reads `buildpack.toml` among `files`; `None` when there is none or it is not one.
    pub fn read(files: Vec<PackFile>) -> Option<Self> {
        let text = files.iter().find(|file| file.path == "buildpack.toml")?.text;
        let written: Written = toml::from_str(text).ok()?;
        Some(Self {
            name: written.name,
            summary: written.summary,
            order: written.order,
            detection: written.detect.detection()?,
            compile: written.compile,
            steered_by: written.steered_by,
            release: written.release,
            files,
        })
    }

    /// SHA-256 over names and contents, in hexadecimal: which version of the pack made a release.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for file in &self.files {
            hash.update(format!("{} {}\n", file.path, file.text.len()));
            hash.update(file.text);
        }
        hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    summary: String,
    order: u32,
    #[serde(default)]
    compile: Compile,
    #[serde(default)]
    steered_by: Vec<String>,
    detect: WrittenDetect,
    #[serde(default)]
    release: Vec<ReleaseRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDetect {
    any: Option<Vec<String>>,
    executables: Option<Vec<String>>,
}

impl WrittenDetect {
    fn detection(self) -> Option<Detection> {
        match (self.any, self.executables) {
            (Some(files), None) => Some(Detection::AnyFile(files)),
            (None, Some(files)) => Some(Detection::Executables(files)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &'static str) -> Option<Pack> {
        Pack::read(vec![PackFile { path: "buildpack.toml", text }])
    }

    #[test]
    fn a_pack_says_what_it_looks_for_in_one_way() {
        let head = "name = \"x\"\nsummary = \"X\"\norder = 1\n[detect]\n";
        for (tail, good) in [
            ("any = [\"a\"]", true),
            ("executables = [\"a\"]", true),
            ("", false),
            ("any = [\"a\"]\nexecutables = [\"b\"]", false),
            ("all = [\"a\"]", false),
        ] {
            let text: &'static str = Box::leak(format!("{head}{tail}").into_boxed_str());
            assert_eq!(written(text).is_some(), good, "{tail}");
        }
        assert!(Pack::read(Vec::new()).is_none());
    }

    #[test]
    fn a_changed_script_is_another_pack() {
        let toml = "name = \"x\"\nsummary = \"X\"\norder = 1\n[detect]\nany = [\"a\"]";
        let one = written(toml).unwrap();
        let mut other = one.clone();
        other.files.push(PackFile { path: "bin/compile", text: "#!/bin/bash\n" });
        assert_eq!(one.digest().len(), 64);
        assert_ne!(one.digest(), other.digest());
    }
}
