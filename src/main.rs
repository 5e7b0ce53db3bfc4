//! The one binary: `serve` is the server, everything else its client.

fn main() {
    // Before any thread exists: this process is about to become somebody else's program.
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "sandbox-init") {
        std::process::exit(commis::sandbox::init::run());
    }
}
