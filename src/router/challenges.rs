//! What an authority of certificates asks a host over plain HTTP, and what is answered. Tokens come from the server.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

const PATH: &str = "/.well-known/acme-challenge/";
/// The oldest ones are over.
const MOST: usize = 1_000;

/// Cheap to clone; every clone sees the same ones.
#[derive(Clone, Default)]
pub struct Challenges(Arc<RwLock<VecDeque<(String, String)>>>);

impl Challenges {
    pub fn add(&self, token: String, answer: String) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.pop_front();
        }
        known.push_back((token, answer));
    }

    /// The answer to a path. `None`: it is the application's.
    pub fn answer(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(PATH)?;
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().rev().find(|(known, _)| known == token).map(|(_, answer)| answer.clone())
    }
}
