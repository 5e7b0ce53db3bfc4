//! The verbs below `release`: what is on a project's shelf, and on its way from one server to another. Pure.

use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
pub enum ReleaseVerb {
    /// Write a release to standard output: a tar of its four files
    #[command(after_help = "Example:\n  commis release export blog v42 > blog-v42.tar")]
    Export {
        /// Name of the project
        project: String,
        /// The release; what is live when absent
        release: Option<String>,
    },
    /// Verify and store a release that `release export` wrote, without deploying it
    #[command(after_help = "Example:\n  commis release import blog < blog-v42.tar")]
    Import {
        /// Name of the project
        project: String,
        /// The file; standard input when absent
        file: Option<PathBuf>,
    },
    /// Verify, store and deploy a release that `release export` wrote
    #[command(
        after_help = "Examples:\n  commis release push blog blog-v42.tar\n  commis release push blog < blog-v42.tar"
    )]
    Push {
        /// Name of the project
        project: String,
        /// The file; standard input when absent
        file: Option<PathBuf>,
        #[command(flatten)]
        despite: Despite,
    },
    /// Write one file of a release to standard output, from some byte on
    #[command(after_help = "Example:\n  commis release fetch blog v42 --part sig > blog-v42.sig")]
    Fetch {
        /// Name of the project
        project: String,
        /// vN, or the SHA-256 of the archive
        release: String,
        /// Which of its files
        #[arg(long)]
        part: PartWord,
        /// The first byte
        #[arg(long, default_value_t = 0)]
        from: u64,
    },
    /// A release in JSON: digests, sizes, whether it was live
    #[command(after_help = "Examples:\n  commis release head blog\n  commis release head blog --commit 3f9c2e1")]
    Head {
        /// Name of the project
        project: String,
        /// vN, or the SHA-256 of the archive; what is live when absent
        release: Option<String>,
        /// The newest release of this commit
        #[arg(long, conflicts_with = "release")]
        commit: Option<String>,
    },
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
    /// The key with which this server fetches releases, as `key add` of the other server takes it
    #[command(
        after_help = "Example:\n  commis release key | ssh commis@staging key add prod --project blog --only release:fetch"
    )]
    Key,
}

/// What `promote` is told.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct PromoteWords {
    /// Name of the project
    pub project: String,
    /// The release there, or one that was imported here; what is live there when absent
    pub release: Option<String>,
    /// Ask this server, by its name below upstreams in the configuration; the only one when absent
    #[arg(long)]
    pub from: Option<String>,
    /// The newest release there of this commit
    #[arg(long, conflicts_with = "release")]
    pub commit: Option<String>,
    /// Exactly the release of a deployment's JSON (`show blog 42 --json`); - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["release", "commit"])]
    pub release_file: Option<PathBuf>,
    #[command(flatten)]
    pub despite: Despite,
}

/// What a release may be although it is mostly a mistake.
#[derive(Args, Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Despite {
    /// Although it was never live where it was cooked
    #[arg(long)]
    pub untested: bool,
    /// Although it is older than what is live here
    #[arg(long)]
    pub downgrade: bool,
}

/// A file of a release.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartWord {
    Archive,
    Sha256,
    Sig,
    Intoto,
}
