//! The client of another Commis: asks it over SSH what it has and takes its releases away, from where the last try broke
//! off. It believes nothing of what comes: what a release is worth is said in `archives`, what is done with it in
//! `pipeline`.
//!
//! [`key`] is who we are there, `connection` one exec, [`fetch`](mod@fetch) many of them for one file.

pub mod fetch;
pub mod head;
pub mod key;

mod connection;

pub use fetch::{Broken, Wanted};
pub use head::{Head, Which};
pub use key::Key;

use crate::config::server::Upstream as Address;
use crate::model::{Code, Failure, ProjectName};
use connection::Ended;

/// An answer in JSON is never longer.
const ANSWER_MAX: usize = 4 << 20;

/// Another server.
#[derive(Clone)]
pub struct Upstream {
    /// The environment: what allowed_signers calls its key.
    pub name: String,
    address: Address,
    key: Key,
}

impl Upstream {
    pub fn new(name: &str, address: &Address, key: &Key) -> Self {
        Self { name: name.to_owned(), address: address.clone(), key: key.clone() }
    }

    /// What it says of one of its releases.
    ///
    /// # Errors
    /// What it answered, `Unreachable`, or `VerifyFailed` when the answer makes no sense.
    pub async fn head(&self, project: &ProjectName, which: &Which) -> Result<Head, Failure> {
        let mut words = vec!["release".to_owned(), "head".to_owned(), project.to_string()];
        match which {
            Which::Live => {}
            Which::Named(name) => words.push(name.clone()),
            Which::Commit(commit) => words.extend(["--commit".to_owned(), commit.clone()]),
        }
        words.push("--json".to_owned());
        let mut answer = Vec::new();
        let mut take = |bytes: &[u8]| match answer.len() + bytes.len() > ANSWER_MAX {
            true => false,
            false => {
                answer.extend_from_slice(bytes);
                true
            }
        };
        let ended = self.run(&words, &mut take).await;
        let ended = ended.map_err(|broken| match broken {
            Broken::Cut(why) => self.unreachable(&why),
            Broken::Refused(failure) => failure,
        })?;
        match ended {
            Ended { code: 0, .. } => Head::parse(&answer, project).map_err(|what| self.nonsense(&what)),
            ended => Err(self.refusal(&ended, &answer)),
        }
    }

    /// Its own words, with its name before them.
    fn refusal(&self, ended: &Ended, answer: &[u8]) -> Failure {
        let error = serde_json::from_slice::<serde_json::Value>(answer).ok();
        let text = |key: &str| error.as_ref().and_then(|value| value["error"][key].as_str());
        let code = text("code").and_then(Code::parse).unwrap_or_else(|| ended.likely_code());
        let said = text("message").map_or_else(|| ended.complaint(), plain);
        let failure = Failure::new(code, format!("{}: {said}", self.name));
        match code {
            Code::NotFound | Code::Denied => failure.hint(format!(
                "on {} an admin gives this server's key (commis release key) the project: commis key add NAME --project P --only release:fetch",
                self.name
            )),
            _ => failure,
        }
    }

    fn unreachable(&self, why: &str) -> Failure {
        let Address { host, port, .. } = &self.address;
        Failure::new(Code::Unreachable, format!("{} at {host}:{port} does not answer: {why}", self.name))
            .hint(format!("see [upstreams.{}] in commis.toml, and whether the server runs", self.name))
    }

    fn nonsense(&self, what: &str) -> Failure {
        Failure::new(Code::VerifyFailed, format!("answer of {}: {what}", self.name))
            .hint("is it the same version of Commis?")
    }
}

/// One line of plain characters: it comes from elsewhere and goes to a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect()
}
