//! The verbs below `release`: what is on a project's shelf. Pure.

use clap::Subcommand;
use serde::{Deserialize, Serialize};

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
pub enum ReleaseVerb {
    /// Releases that are kept: whether they are pinned, where they are from, what leaving them means
    #[command(after_help = "Example:\n  commis release list blog")]
    List {
        /// Name of the project
        project: String,
    },
    /// Check a release on the shelf: digest, signature, signer, provenance, every file in it
    #[command(after_help = "Example:\n  commis release verify blog v42")]
    Verify {
        /// Name of the project
        project: String,
        /// The release
        release: String,
    },
    /// Keep a release, however old it gets
    #[command(after_help = "Example:\n  commis release pin blog v42")]
    Pin {
        /// Name of the project
        project: String,
        /// The release
        release: String,
    },
    /// Keep a release no longer than others
    #[command(after_help = "Example:\n  commis release unpin blog v42")]
    Unpin {
        /// Name of the project
        project: String,
        /// The release
        release: String,
    },
    /// The key that signs what is cooked here, as a line for another server's allowed_signers
    #[command(after_help = "Example:\n  commis release signer >> allowed_signers")]
    Signer,
}
