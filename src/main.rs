//! The one binary: `serve` is the server, everything else its client; hidden uses come first, before any thread.

use commis::git::{install, relay};
use std::process::exit;

fn main() {
    let args: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let is = |at: usize, word: &str| args.get(at).is_some_and(|arg| arg == word);
    // git calls its hooks by their names, which are links to this program.
    match args.first().map(std::path::Path::new).and_then(|path| path.file_name()).and_then(|name| name.to_str()) {
        Some(install::PROC_RECEIVE) => {
            let (socket, token) = commis::config::load::hook_env();
            exit(relay::run_relay(&socket, &token));
        }
        Some(install::REFERENCE_TRANSACTION) => {
            let state = args.get(1).map(|state| state.to_string_lossy().into_owned()).unwrap_or_default();
            exit(relay::run_reference_transaction(&state));
        }
        _ => {}
    }
    if is(1, "sandbox-init") {
        // This process is about to become somebody else's program.
        exit(commis::sandbox::init::run());
    }
    if is(1, "shim") {
        exit(commis::runtime::shim::run(args.get(2).map(std::path::PathBuf::from)).into());
    }
    if is(1, "router-process") {
        // Its user and its session are changed before there are threads.
        exit(commis::router::process::run());
    }
    if is(1, "static") {
        exit(commis::runtime::static_site::run(args.get(2), commis::config::load::port()));
    }
    #[cfg(feature = "failpoints")]
    commis::system::failpoint::arm(&commis::config::load::failpoints());
    let words = args.into_iter().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>();
    let code = match words.first().map(String::as_str) {
        Some("serve") => commis::server::run(words),
        _ => commis::cli::run(words),
    };
    exit(code.into());
}
