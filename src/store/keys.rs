//! Public keys and what each may do.

use super::{Result, Store, during};
use crate::model::actor::{Rank, Right};
use crate::model::{ProjectName, Time};
use rusqlite::{OptionalExtension, Row, params};

/// A public key that may come in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRecord {
    /// Unique; how people and logs call it.
    pub name: String,
    /// `SHA256:...`, unique.
    pub fingerprint: String,
    /// Algorithm and base64, without comment.
    pub line: String,
    pub rank: Rank,
    pub added_at: Time,
}

impl Store {
    /// Adds a key. `Ok(false)` when the name or the key is there already.
    pub fn add_key(&self, key: &KeyRecord) -> Result<bool> {
        let (rank, projects, rights) = rank_words(&key.rank);
        self.lock()
            .execute(
                "INSERT OR IGNORE INTO keys (name, fingerprint, line, rank, projects, rights, added_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![key.name, key.fingerprint, key.line, rank, projects, rights, key.added_at.0],
            )
            .map(|rows| rows == 1)
            .map_err(during("add a key"))
    }

    /// `Ok(false)` when there was no such key.
    pub fn remove_key(&self, name: &str) -> Result<bool> {
        let rows = self.lock().execute("DELETE FROM keys WHERE name = ?1", [name]);
        rows.map(|rows| rows == 1).map_err(during("remove a key"))
    }

    pub fn keys(&self) -> Result<Vec<KeyRecord>> {
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached("SELECT * FROM keys ORDER BY name").map_err(during("list keys"))?;
        let rows = statement.query_map([], read).map_err(during("list keys"))?;
        rows.collect::<rusqlite::Result<_>>().map_err(during("list keys"))
    }

    pub fn key_by_fingerprint(&self, fingerprint: &str) -> Result<Option<KeyRecord>> {
        self.lock()
            .query_row("SELECT * FROM keys WHERE fingerprint = ?1", [fingerprint], read)
            .optional()
            .map_err(during("look a key up"))
    }
}

/// The words of the columns `rank`, `projects` and `rights`.
fn rank_words(rank: &Rank) -> (&'static str, String, String) {
    let names = |projects: &[ProjectName]| projects.iter().map(ProjectName::as_str).collect::<Vec<_>>().join(" ");
    match rank {
        Rank::Admin => ("admin", String::new(), String::new()),
        Rank::Developer => ("developer", String::new(), String::new()),
        Rank::Limited(projects) => ("limited", names(projects), String::new()),
        Rank::Bot { projects, rights } => {
            let rights: Vec<&str> = rights.iter().map(|right| right.as_str()).collect();
            ("bot", names(projects), rights.join(" "))
        }
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<KeyRecord> {
    let rank: String = row.get("rank")?;
    let projects: String = row.get("projects")?;
    let projects: Vec<ProjectName> = projects.split(' ').filter_map(ProjectName::parse).collect();
    let rights: String = row.get("rights")?;
    Ok(KeyRecord {
        name: row.get("name")?,
        fingerprint: row.get("fingerprint")?,
        line: row.get("line")?,
        // An unknown word is the least power, not the most.
        rank: match rank.as_str() {
            "admin" => Rank::Admin,
            "developer" => Rank::Developer,
            "limited" => Rank::Limited(projects),
            _ => Rank::Bot { projects, rights: rights.split(' ').filter_map(Right::parse).collect() },
        },
        added_at: Time(row.get("added_at")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_unique_by_name_and_by_fingerprint() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db")).unwrap();
        let blog = ProjectName::parse("blog").unwrap();
        let key = |name: &str, fingerprint: &str| KeyRecord {
            name: name.into(),
            fingerprint: fingerprint.into(),
            line: "ssh-ed25519 AAAA".into(),
            rank: Rank::Limited(vec![blog.clone()]),
            added_at: Time(1),
        };
        let bot = Rank::Bot { projects: vec![blog.clone()], rights: Right::ALL.to_vec() };
        let bot = KeyRecord { rank: bot, ..key("z", "SHA256:9") };
        assert!(store.add_key(&bot).unwrap());
        assert_eq!(store.key_by_fingerprint("SHA256:9").unwrap(), Some(bot));
        assert!(store.remove_key("z").unwrap());
        assert!(store.add_key(&key("a", "SHA256:1")).unwrap());
        assert!(!store.add_key(&key("a", "SHA256:2")).unwrap());
        assert!(!store.add_key(&key("b", "SHA256:1")).unwrap());
        assert_eq!(store.keys().unwrap(), [key("a", "SHA256:1")]);
        assert_eq!(store.key_by_fingerprint("SHA256:1").unwrap(), Some(key("a", "SHA256:1")));
        assert!(store.remove_key("a").unwrap());
        assert!(!store.remove_key("a").unwrap());
    }
}
