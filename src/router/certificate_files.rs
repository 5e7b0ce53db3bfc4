//! Certificates as files of an admin, read by the server, which may, and handed to the router, which may not. One that
//! cannot be read is said and left out; the others go on.

use super::certificates::{Certificate, CertificateText, KeyText};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A chain and its key, both PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFiles {
    /// What the admin calls it.
    pub name: String,
    pub chain: PathBuf,
    pub key: PathBuf,
}

/// What changes when files do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stamps(Vec<Option<(u64, i64, i64, u64)>>);

/// What is there, without reading it.
pub fn stamps(files: &[CertificateFiles]) -> Stamps {
    let stamp = |path: &Path| {
        let data = fs::metadata(path).ok()?;
        Some((data.ino(), data.mtime(), data.mtime_nsec(), data.size()))
    };
    Stamps(files.iter().flat_map(|one| [stamp(&one.chain), stamp(&one.key)]).collect())
}

/// Those that can be used.
pub fn read(files: &[CertificateFiles]) -> Vec<CertificateText> {
    let usable = files.iter().filter_map(|one| {
        let text = text(one).inspect_err(|error| tracing::error!(certificate = one.name, "left out: {error}"));
        text.ok()
    });
    usable.collect()
}

/// The files of a directory, each with a key and its chain, by name.
pub fn below(directory: &Path) -> Vec<CertificateFiles> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<CertificateFiles> = entries
        .filter(|path| path.extension().is_some_and(|end| end == "pem"))
        .map(|path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            CertificateFiles { name, chain: path.clone(), key: path }
        })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// The names of those that can be used.
pub fn names(texts: &[CertificateText]) -> BTreeSet<String> {
    texts.iter().filter_map(|text| Certificate::read(text).ok()).flat_map(|one| one.names).collect()
}

fn text(files: &CertificateFiles) -> io::Result<CertificateText> {
    let named = |path: &Path, error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", path.display()));
    let chain = fs::read_to_string(&files.chain).map_err(|error| named(&files.chain, &error))?;
    let key = fs::read_to_string(&files.key).map_err(|error| named(&files.key, &error))?;
    let text = CertificateText { chain, key: KeyText(key) };
    Certificate::read(&text).map_err(|error| named(&files.chain, &error))?;
    Ok(text)
}
