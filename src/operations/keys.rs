//! `key add|list|remove`.

use super::authorize::{Action, authorize};
use super::records::{Key, Reply};
use super::{Input, Platform, records};
use crate::model::actor::{Rank, Right};
use crate::model::{Actor, Code, Door, Failure, ProjectName};
use crate::ssh::keys::parse_public_key;
use crate::store::KeyRecord;
use crate::system::clock;
use crate::verbs::KeyVerb;

/// What `key add` was told.
struct NewKey {
    pub name: String,
    pub admin: bool,
    pub projects: Vec<String>,
    /// Words of [`Right`].
    pub only: Vec<String>,
    pub text: String,
}

impl Platform {
    /// The actor behind a key that has just signed.
    pub fn recognise(&self, fingerprint: &str) -> Option<Actor> {
        let key = self.context.store.key_by_fingerprint(fingerprint).ok().flatten()?;
        Some(Actor { name: key.name, fingerprint: Some(key.fingerprint), rank: key.rank, door: Door::Ssh })
    }

    pub(super) async fn key(&self, actor: &Actor, verb: KeyVerb, input: Input) -> Result<Reply, Failure> {
        match verb {
            KeyVerb::Add { name, admin, project, only } => {
                let text = input.read_text().await?;
                self.add_key(actor, NewKey { name, admin, projects: project, only, text })
            }
            KeyVerb::List => self.list_keys(actor),
            KeyVerb::Remove { name } => self.remove_key(actor, &name),
        }
    }

    fn add_key(&self, actor: &Actor, new: NewKey) -> Result<Reply, Failure> {
        authorize(actor, Action::ManageKeys, None)?;
        check_name(&new.name)?;
        if new.text.trim().is_empty() {
            let failure = Failure::new(Code::Usage, "no public key on standard input");
            return Err(failure.hint(format!("commis key add {} < ~/.ssh/id_ed25519.pub", new.name)));
        }
        // What is on standard input is a file of theirs, not a word of the command.
        let public = parse_public_key(&new.text).map_err(|failure| Failure { code: Code::BadConfig, ..failure })?;
        let record = KeyRecord {
            rank: rank(&new)?,
            name: new.name,
            fingerprint: public.fingerprint,
            line: public.comment_free_line,
            added_at: clock::now(),
        };
        if self.context.store.add_key(&record)? {
            let words = Key::of(&record);
            let done = format!("added {} ({}) {}", record.name, words.rank, record.fingerprint);
            return Ok(Reply::Done { done, changed: true });
        }
        match self.context.store.key_by_fingerprint(&record.fingerprint)? {
            Some(there) if there == (KeyRecord { added_at: there.added_at, ..record.clone() }) => {
                Ok(Reply::Done { done: format!("{} is there already", there.name), changed: false })
            }
            Some(there) => Err(Failure::new(Code::Exists, format!("this key is there already, as {}", there.name))
                .hint(format!("commis key remove {}", there.name))),
            None => Err(Failure::new(Code::Exists, format!("there is another key named {}", record.name))
                .hint(format!("choose another name, or: commis key remove {}", record.name))),
        }
    }

    fn list_keys(&self, actor: &Actor) -> Result<Reply, Failure> {
        authorize(actor, Action::ManageKeys, None)?;
        Ok(Reply::Keys { keys: self.context.store.keys()?.iter().map(records::Key::of).collect() })
    }

    fn remove_key(&self, actor: &Actor, name: &str) -> Result<Reply, Failure> {
        authorize(actor, Action::ManageKeys, None)?;
        if self.context.store.remove_key(name)? {
            return Ok(Reply::Done { done: format!("removed {name}"), changed: true });
        }
        let name = crate::notify::clean_line(name.as_bytes());
        Err(Failure::new(Code::NotFound, format!("no key named {name}")).hint("commis key list shows them"))
    }
}

fn check_name(name: &str) -> Result<(), Failure> {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@+-".contains(&b));
    if plain && !name.starts_with('-') && (1..=64).contains(&name.len()) {
        return Ok(());
    }
    Err(Failure::new(Code::Usage, "a key's name is 1 to 64 of a-z A-Z 0-9 . _ @ + -"))
}

fn rank(new: &NewKey) -> Result<Rank, Failure> {
    if new.admin {
        return Ok(Rank::Admin);
    }
    let parse = |name: &String| ProjectName::parse(name).ok_or_else(|| super::projects::bad_name(name));
    let projects: Vec<ProjectName> = new.projects.iter().map(parse).collect::<Result<_, _>>()?;
    let mut rights = Vec::new();
    for word in &new.only {
        rights.push(Right::parse(word).ok_or_else(|| bad_right(word))?);
    }
    match (projects.is_empty(), rights.is_empty()) {
        (true, true) => Ok(Rank::Developer),
        (false, true) => Ok(Rank::Limited(projects)),
        (false, false) => Ok(Rank::Bot { projects, rights }),
        (true, false) => {
            let failure = Failure::new(Code::Usage, "--only needs --project: a right is for named projects");
            Err(failure.hint(format!("commis key add {} --project blog --only release:push < ci.pub", new.name)))
        }
    }
}

fn bad_right(word: &str) -> Failure {
    let shown = crate::notify::clean_line(word.as_bytes());
    let known = Right::ALL.map(Right::as_str).join(", ");
    Failure::new(Code::Usage, format!("no right is called \"{shown}\"")).hint(format!("rights are: {known}"))
}
