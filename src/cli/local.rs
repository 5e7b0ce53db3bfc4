//! Verbs that work without a running server.

use crate::config;
use crate::model::Failure;
use std::path::Path;

/// `config check`: reads the configuration as `serve` would.
///
/// # Errors
/// `ServerConfig`, naming file and key.
pub fn check(file: Option<&Path>, json: bool) -> Result<String, Failure> {
    let config = config::load(file)?;
    let named = file.map(Path::to_owned).or_else(config::env_file);
    let source = named.map_or("defaults".to_owned(), |path| path.display().to_string());
    if json {
        let platform = config.platform.as_str();
        return Ok(format!("{}\n", serde_json::json!({ "ok": true, "file": source, "platform": platform })));
    }
    Ok(format!(
        "ok: {source}: platform {}, projects below {}\n",
        config.platform.as_str(),
        config.paths.projects.display()
    ))
}
