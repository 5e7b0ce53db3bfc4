//! Finds and reads the server's configuration: defaults, then the file, then `conf.d/*.toml` beside it, then `COMMIS_…`.
//!
//! The only reader of environment variables in this crate, and the only file of this room that opens files. What a
//! key means and may be is `server`'s business.

use super::server::{self, ServerConfig};
use super::settings::{Schema, Settings};
use crate::model::{Code, Failure};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where the file is when nobody names one; it may be absent.
const SYSTEM_FILE: &str = "/etc/commis/commis.toml";
/// Variables that are not keys: they name the file, or belong to the client.
const NOT_KEYS: [&str; 3] = ["COMMIS_CONFIG", "COMMIS_HOST", "COMMIS_PROJECT"];

/// Reads the configuration of the server. Without a file: the one that `COMMIS_CONFIG` names, else
/// `/etc/commis/commis.toml` if there is one, else the defaults alone. Errors are `server-config`.
pub fn load(file: Option<&Path>) -> Result<ServerConfig, Failure> {
    let named = file.map(Path::to_path_buf).or_else(env_file);
    let variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    match named {
        Some(file) => layered(&file, &variables),
        None if Path::new(SYSTEM_FILE).exists() => layered(Path::new(SYSTEM_FILE), &variables),
        None => finish(server::defaults()?, &variables),
    }
}

/// The file that `COMMIS_CONFIG` names.
pub fn env_file() -> Option<PathBuf> {
    std::env::var_os("COMMIS_CONFIG").filter(|name| !name.is_empty()).map(PathBuf::from)
}

/// What the git hook inherits: the socket it reports to, and the token that names its push.
pub fn hook_env() -> (PathBuf, String) {
    let socket = std::env::var_os("COMMIS_HOOK_SOCKET").map(PathBuf::from).unwrap_or_default();
    let token = std::env::var_os("COMMIS_PUSH").and_then(|token| token.into_string().ok()).unwrap_or_default();
    (socket, token)
}

/// `$PORT`, as processes of projects get it.
pub fn port() -> Option<u16> {
    std::env::var_os("PORT")?.to_str()?.parse().ok()
}

/// `$TERM` of whoever sits at a terminal.
pub fn terminal_name() -> Option<String> {
    std::env::var_os("TERM")?.into_string().ok()
}

/// What a test wants to happen at which points.
#[cfg(feature = "failpoints")]
pub fn failpoints() -> String {
    std::env::var_os("FAILPOINTS").and_then(|asked| asked.into_string().ok()).unwrap_or_default()
}

fn layered(file: &Path, variables: &[(OsString, OsString)]) -> Result<ServerConfig, Failure> {
    let schema = server::schema();
    let mut settings = server::defaults()?;
    for path in std::iter::once(file.to_path_buf()).chain(drop_ins(file)?) {
        settings.overlay(Settings::read(&read(&path)?, &path.display().to_string(), &schema)?);
    }
    finish(settings, variables)
}

fn finish(mut settings: Settings, variables: &[(OsString, OsString)]) -> Result<ServerConfig, Failure> {
    let schema = server::schema();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with("COMMIS_") && !NOT_KEYS.contains(name)) else {
            continue;
        };
        let Some(path) = key_of(name, &schema)? else { continue };
        let Some(text) = value.to_str() else {
            return Err(Failure::new(Code::ServerConfig, format!("{name}: {path}: should be UTF-8 text")));
        };
        settings.set_variable(&path, name, text);
    }
    ServerConfig::from_settings(&settings)
}

/// The key that a variable means; `None` when it is not for us. A name that begins with one of our sections and then
/// names no key of it is a mistake.
fn key_of(variable: &str, schema: &Schema) -> Result<Option<String>, Failure> {
    if let Some(key) = schema.keys.iter().find(|key| variable_of(key) == variable) {
        return Ok(Some(key.clone()));
    }
    for section in schema.open {
        let prefix = format!("{}_", variable_of(section));
        if let Some(name) = variable.strip_prefix(&prefix).filter(|name| !name.is_empty()) {
            return Ok(Some(format!("{section}.{name}")));
        }
    }
    let words = variable.strip_prefix("COMMIS_").unwrap_or(variable).to_ascii_lowercase();
    let Some((section, key)) = words.split_once('_') else { return Ok(None) };
    if !schema.keys.iter().any(|known| known.split_once('.').is_some_and(|(first, _)| first == section)) {
        return Ok(None);
    }
    let path = format!("{section}.{key}");
    Err(Failure::new(Code::ServerConfig, format!("{variable}: {path}: {}", schema.unknown(&path))))
}

/// `router.http` is `COMMIS_ROUTER_HTTP`.
fn variable_of(key: &str) -> String {
    format!("COMMIS_{}", key.replace('.', "_").to_ascii_uppercase())
}

/// `conf.d/*.toml` beside the file, in the order of their names.
fn drop_ins(file: &Path) -> Result<Vec<PathBuf>, Failure> {
    let directory = file.parent().unwrap_or(Path::new("")).join("conf.d");
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(&directory, &error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(&directory, &error))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let why = match error.kind() {
        ErrorKind::NotFound => "no such file".to_owned(),
        ErrorKind::InvalidData => "is not UTF-8 text".to_owned(),
        ErrorKind::PermissionDenied => "may not be read by this user".to_owned(),
        _ => error.to_string(),
    };
    let failure = Failure::new(Code::ServerConfig, format!("{}: {why}", path.display()));
    if error.kind() == ErrorKind::NotFound {
        failure.hint("name the file with --config or COMMIS_CONFIG")
    } else {
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::os::unix::ffi::OsStringExt;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn error(pairs: &[(&str, &str)]) -> String {
        finish(server::defaults().ok().unwrap(), &variables(pairs)).unwrap_err().what
    }

    #[test]
    fn later_layers_win_defaults_file_drop_ins_environment() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("commis.toml");
        std::fs::create_dir(directory.path().join("conf.d")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("commis.toml", "releases.keep = 6\nrouter.domain = \"file\"\nhealth.successes = 2\nssh.max_channels = 3");
        write("conf.d/20-b.toml", "router.domain = \"twenty\"\nhealth.successes = 4");
        write("conf.d/10-a.toml", "router.domain = \"ten\"\n");
        write("conf.d/.30-hidden.toml", "this is not read");
        write("conf.d/README", "nor is this");
        let config = layered(&file, &variables(&[("COMMIS_SSH_MAX_CHANNELS", "9"), ("HOME", "/root")])).unwrap();
        assert_eq!(config.releases.keep, 6);
        assert_eq!(config.router.domain, "twenty");
        assert_eq!(config.health.successes, 4);
        assert_eq!(config.ssh.max_channels, 9);
        assert_eq!(config.queue.wait.as_secs(), 3600);
    }

    #[test]
    fn a_mistake_in_a_drop_in_names_that_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("commis.toml");
        std::fs::create_dir(directory.path().join("conf.d")).unwrap();
        std::fs::write(&file, "").unwrap();
        std::fs::write(directory.path().join("conf.d/a.toml"), "\nroutr.http = 1").unwrap();
        let failure = layered(&file, &[]).unwrap_err();
        assert_eq!(failure.code, Code::ServerConfig);
        let name = directory.path().join("conf.d/a.toml");
        let expected = format!("{} line 2: routr: unknown key; did you mean router?", name.display());
        assert_eq!(failure.what, expected);
    }

    #[test]
    fn a_file_that_is_named_must_be_there_and_be_text() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("commis.toml");
        let failure = load(Some(&file)).unwrap_err();
        assert_eq!(failure.what, format!("{}: no such file", file.display()));
        assert_eq!(failure.hints.len(), 1);
        std::fs::write(&file, b"\xff").unwrap();
        assert!(load(Some(&file)).unwrap_err().what.ends_with("is not UTF-8 text"));
    }

    #[test]
    fn every_key_has_a_variable_of_its_own() {
        let keys = server::schema().keys;
        let names: BTreeSet<String> = keys.iter().map(|key| variable_of(key)).collect();
        assert_eq!(names.len(), keys.len());
        for key in &keys {
            assert_eq!(key_of(&variable_of(key), &server::schema()).unwrap().as_ref(), Some(key));
        }
        assert!(names.contains("COMMIS_ROUTER_HTTP") && names.contains("COMMIS_PLATFORM"));
    }

    #[test]
    fn a_wrong_variable_is_named() {
        assert_eq!(
            error(&[("COMMIS_ROUTER_HTTP", "80")]),
            "COMMIS_ROUTER_HTTP: router.http: should be HOST:PORT, found \"80\""
        );
        assert_eq!(
            error(&[("COMMIS_ROUTER_HTP", "x")]),
            "COMMIS_ROUTER_HTP: router.htp: unknown key; did you mean router.http?"
        );
    }

    #[test]
    fn variables_that_are_not_keys_are_left_alone() {
        let names =
            ["COMMIS_CONFIG", "COMMIS_HOST", "COMMIS_PROJECT", "COMMIS_TOKEN", "COMMIS_SOMETHING_ELSE", "COMMIS"];
        let others: Vec<(&str, &str)> = names.iter().map(|name| (*name, "x")).collect();
        assert!(finish(server::defaults().ok().unwrap(), &variables(&others)).is_ok());
    }

    #[test]
    fn build_environment_comes_from_variables_too() {
        let set =
            variables(&[("COMMIS_BUILDS_ENV_PIP_INDEX_URL", "http://mirror"), ("COMMIS_GIT_CREATE_ON_PUSH", "false")]);
        let config = finish(server::defaults().ok().unwrap(), &set).unwrap();
        assert_eq!(config.builds.env.get("PIP_INDEX_URL").map(String::as_str), Some("http://mirror"));
        assert!(!config.git.create_on_push);
    }

    #[test]
    fn a_value_that_is_not_text_is_refused() {
        let value = OsString::from_vec(vec![0xff]);
        let failure = finish(server::defaults().ok().unwrap(), &[("COMMIS_LOG_FILTER".into(), value)]).unwrap_err();
        assert_eq!(failure.what, "COMMIS_LOG_FILTER: log.filter: should be UTF-8 text");
    }
}
