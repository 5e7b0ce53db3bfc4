//! What can be said to a server, as a clap tree whose values travel as JSON. Pure.
//!
//! To add a verb: a variant here with its help and an example, its arm in `operations::perform`, its answer in
//! `operations::records` and `operations::show`, and the page `docs/verbs.md`, which a test regenerates.

use super::configuring::ConfigVerb;
use super::disk::DiskVerb;
use super::editing::{CommitWords, CreateWords, DeployWords};
use super::names::{DomainsVerb, MaintenanceVerb};
use super::processes::ProcessVerb;
use super::release::PromoteWords;
use super::running::{RunWords, ShellWords, TaskVerb};
use clap::{Args, Parser, Subcommand};
use serde::{Deserialize, Serialize};

/// What a list of verbs does not say.
const WHERE: &str = "\
The server itself:  commis serve --config FILE   (commis serve --help)
Without a shell:    ssh -p PORT commis@HOST VERB   (the same verbs, for those who have a key)
COMMIS_CONFIG names the server's configuration; /etc/commis/commis.toml when it is not set.";

/// A verb with how the answer shall look.
#[derive(Parser, Clone, Debug, Serialize, Deserialize)]
#[command(name = "commis", about = "Push, cook, deploy, check; and put back what was not well", max_term_width = 100)]
#[command(disable_help_subcommand = true, version, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = WHERE)]
pub struct Invocation {
    #[command(subcommand)]
    pub verb: Verb,
    #[command(flatten)]
    pub output: Output,
}

/// How an answer looks.
#[derive(Args, Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Output {
    /// Answer in JSON: one object, or one for each line of a log
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
pub enum Verb {
    /// Public keys that may push
    Key {
        #[command(subcommand)]
        verb: KeyVerb,
    },
    /// Create, list and destroy projects
    Project {
        #[command(subcommand)]
        verb: ProjectVerb,
    },
    /// List projects and what is live
    #[command(after_help = "Example:\n  commis list --json")]
    List,
    /// A project, or one of its deployments
    #[command(after_help = "Examples:\n  commis show blog\n  commis show blog 42 --json")]
    Show {
        /// Name of the project
        project: String,
        /// Number of a deployment
        number: Option<u32>,
    },
    /// The log of a deployment
    #[command(after_help = "Example:\n  commis log blog 42 -f")]
    Log {
        /// Name of the project
        project: String,
        /// Number of the deployment; the newest when absent
        number: Option<u32>,
        /// Follow until it ends
        #[arg(short, long)]
        follow: bool,
    },
    /// What the application prints
    #[command(after_help = "Example:\n  commis logs blog -f")]
    Logs {
        /// Name of the project
        project: String,
        /// Follow until interrupted
        #[arg(short, long)]
        follow: bool,
        /// Start with so many lines
        #[arg(short = 'n', long, default_value_t = 100)]
        lines: usize,
    },
    #[command(flatten)]
    Process(ProcessVerb),
    /// Host names of a project
    Domains {
        #[command(subcommand)]
        verb: DomainsVerb,
    },
    /// Ask people to come back later
    Maintenance {
        #[command(subcommand)]
        verb: MaintenanceVerb,
    },
    /// Run a command beside the application: same release, data, variables, user and limits
    #[command(
        after_help = "Examples:\n  commis run blog -- python manage.py migrate\n  commis run blog -- cat < dump.sql\n  ssh -t -p PORT commis@HOST run blog -- psql"
    )]
    Run(RunWords),
    /// A shell beside the application, at a terminal
    #[command(
        after_help = "Examples:\n  commis shell blog\n  commis shell blog --crashed web.1\n  ssh -t -p PORT commis@HOST shell blog"
    )]
    Shell(ShellWords),
    /// What runs by the clock: cron of app.json, task of .commis/project.toml
    Task {
        #[command(subcommand)]
        verb: TaskVerb,
    },
    /// Releases that are kept
    #[command(after_help = "Example:\n  commis releases blog")]
    Releases {
        /// Name of the project
        project: String,
    },
    /// Deploy the branch's commit again, with today's configuration; or what stands in an edited project
    #[command(
        after_help = "Examples:\n  commis deploy blog\n  commis deploy blog --only build,deploy\n  commis deploy blog --step post_deploy"
    )]
    Deploy(DeployWords),
    /// Cancel what is being deployed, before its switch
    #[command(after_help = "Example:\n  commis cancel blog")]
    Cancel {
        /// Name of the project
        project: String,
    },
    /// Deploy an earlier release, without building
    #[command(
        after_help = "Examples:\n  commis rollback blog\n  commis rollback blog v41\n  commis rollback blog v41 --with-data"
    )]
    Rollback(RollbackWords),
    /// Deploy a release that another server cooked, without building
    #[command(
        after_help = "Examples:\n  commis promote blog\n  commis promote blog --from staging v42\n  commis promote blog --release-file - < release.json"
    )]
    Promote(PromoteWords),
    /// Finished releases: on the shelf, on their way in and out
    Release {
        #[command(subcommand)]
        verb: super::release::ReleaseVerb,
    },
    /// Which releases stay, and which go when
    #[command(after_help = "Example:\n  commis retention blog --next")]
    Retention {
        /// Name of the project
        project: String,
        /// Only those that go, soonest first
        #[arg(long)]
        next: bool,
    },
    /// What was edited in place and not committed
    #[command(after_help = "Examples:\n  commis diff blog\n  commis diff blog --stat")]
    Diff {
        /// Name of the project
        project: String,
        /// Names and counts only
        #[arg(long)]
        stat: bool,
    },
    /// Commit what was edited in place, for others to pull
    #[command(after_help = "Example:\n  commis commit blog -m \"fix the title\"")]
    Commit(CommitWords),
    /// Configuration of a project, or a check of the server's own
    Config {
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// The host key, as a line for known_hosts
    #[command(after_help = "Example:\n  commis hostkey >> ~/.ssh/known_hosts")]
    Hostkey,
    /// Check the machine, and say which protections are active
    #[command(after_help = "Example:\n  commis doctor")]
    Doctor,
    /// The server at a glance
    #[command(after_help = "Example:\n  commis status --json")]
    Status,
    /// What projects take on the disk, their limits, and what may go
    Disk {
        #[command(subcommand)]
        verb: DiskVerb,
    },
    /// Put owners and modes of a project's trees right
    #[command(after_help = "Example:\n  commis fixperms blog")]
    Fixperms {
        /// Name of the project
        project: String,
    },
    /// Destroyed projects that can still come back
    #[command(after_help = "Example:\n  commis trash")]
    Trash,
    /// A project whose rollback failed: how it is, and the ways out
    #[command(after_help = "Examples:\n  commis rescue blog\n  commis rescue blog --old")]
    Rescue(RescueWords),
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct RollbackWords {
    /// Name of the project
    pub project: String,
    /// The release; the previous good one when absent
    pub release: Option<String>,
    /// Data too, as it was when the release was replaced; what it is now is kept
    #[arg(long, conflicts_with = "code_only")]
    pub with_data: bool,
    /// Leave data as it is, whatever the releases did to it
    #[arg(long)]
    pub code_only: bool,
    /// Also from a release that says that there is no way back
    #[arg(long)]
    pub force: bool,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct RescueWords {
    /// Name of the project
    pub project: String,
    /// Try the release that should be live again, with its data; what is edited in place becomes what it was
    #[arg(long)]
    pub old: bool,
    /// Try the release that failed again, with data as it is
    #[arg(long, conflicts_with = "old")]
    pub forward: bool,
    /// The release that should be live, with the data that this deployment backed up
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["old", "forward"])]
    pub data: Option<u32>,
    /// Take everything as it is
    #[arg(long, conflicts_with_all = ["old", "forward", "data"])]
    pub accept: bool,
}

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
pub enum KeyVerb {
    /// Add the public key on standard input
    #[command(
        after_help = "Examples:\n  commis key add jane --admin < ~/.ssh/id_ed25519.pub\n  commis key add jenkins --project blog < ci.pub\n  commis key add prod --project blog --only release:fetch < prod.pub"
    )]
    Add {
        /// How logs and lists call it
        name: String,
        /// May manage keys and projects
        #[arg(long, conflicts_with = "project")]
        admin: bool,
        /// Only this project exists for the key; may be repeated
        #[arg(long)]
        project: Vec<String>,
        /// Nothing but this: release:push or release:fetch, of the named projects; may be repeated
        #[arg(long, conflicts_with = "admin")]
        #[serde(default)]
        only: Vec<String>,
    },
    /// List keys
    #[command(after_help = "Example:\n  commis key list")]
    List,
    /// Remove a key
    #[command(after_help = "Example:\n  commis key remove jenkins")]
    Remove {
        /// As `key list` shows it
        name: String,
    },
}

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
pub enum ProjectVerb {
    /// Create a project with its two repositories
    #[command(
        after_help = "Examples:\n  commis project create blog\n  commis project create notes --mode editable --remote-less\n  commis project create notes --with-remote"
    )]
    Create(CreateWords),
    /// List projects
    #[command(after_help = "Example:\n  commis project list")]
    List,
    /// Stop a project and put its code, releases and data into the trash
    #[command(after_help = "Examples:\n  commis project destroy blog --confirm blog\n  commis undestroy blog")]
    Destroy {
        /// Name of the project
        name: String,
        /// The name once more
        #[arg(long)]
        confirm: Option<String>,
        /// Remove it for good at once
        #[arg(long)]
        now: bool,
    },
    /// Bring a destroyed project back
    #[command(after_help = "Example:\n  commis project undestroy blog")]
    Undestroy {
        /// Name of the project, or its directory as `commis trash` shows it
        name: String,
    },
}

/// What became of some words.
pub enum Said {
    Verb(Box<Invocation>),
    /// Help or version was asked for: text for standard output, exit 0.
    Help(String),
    /// Not understood: text for standard error, exit 64.
    Wrong(String),
}

/// Understands the words after `commis`.
pub fn parse(words: Vec<String>) -> Said {
    let words = super::aliases::translate(words);
    match Invocation::try_parse_from(std::iter::once("commis".to_owned()).chain(words)) {
        Ok(invocation) => Said::Verb(Box::new(invocation)),
        Err(error) if error.use_stderr() => Said::Wrong(error.render().to_string()),
        Err(error) => Said::Help(error.render().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_tree_is_consistent_and_every_verb_shows_an_example() {
        Invocation::command().debug_assert();
        fn leaves(command: &clap::Command, path: &str) {
            for sub in command.get_subcommands() {
                let path = format!("{path} {}", sub.get_name());
                if sub.has_subcommands() {
                    leaves(sub, &path);
                } else {
                    let after = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                    assert!(after.contains(&path), "{path} has no example");
                }
            }
        }
        leaves(&Invocation::command(), "commis");
    }

    #[test]
    fn a_verb_survives_the_journey_as_json() {
        let Said::Verb(said) = parse(vec!["show".into(), "blog".into(), "42".into(), "--json".into()]) else {
            panic!("not understood")
        };
        let there = serde_json::to_string(&said).unwrap();
        let back: Invocation = serde_json::from_str(&there).unwrap();
        assert!(back.output.json && matches!(back.verb, Verb::Show { number: Some(42), .. }));
    }

    #[test]
    fn nonsense_is_wrong_and_help_is_help() {
        assert!(matches!(parse(vec!["fly".into()]), Said::Wrong(text) if text.contains("fly")));
        assert!(matches!(parse(vec!["show".into(), "--help".into()]), Said::Help(text) if text.contains("42")));
        assert!(matches!(parse(vec!["help".into()]), Said::Help(text) if text.contains("commis serve --config")));
        assert!(matches!(parse(vec!["help".into(), "show".into()]), Said::Help(text) if text.contains("42")));
    }
}
