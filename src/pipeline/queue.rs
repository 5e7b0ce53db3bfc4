//! Whose turn it is, per project: first come, first served, and a newer push of the same key replaces its waiting one. Pure.

use crate::model::DeploymentNumber;
use std::collections::VecDeque;

/// A deployment that wants its turn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ticket {
    pub number: DeploymentNumber,
    /// Fingerprint of the pushing key; `None` never replaces and is never replaced.
    pub key: Option<String>,
    /// `#44 by alice`, for those who wait behind it.
    pub title: String,
}

/// The line in front of one project.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Queue {
    running: Option<Ticket>,
    waiting: VecDeque<Ticket>,
}

/// What joining meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined {
    /// A waiting deployment that this one replaced: it must be told.
    pub superseded: Option<DeploymentNumber>,
}

/// Where a ticket stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is running.
    Turn,
    /// Somebody else runs; `ahead` tickets wait in front of it.
    Behind { holder: String, ahead: usize },
    /// Not in the queue: replaced, left, or finished.
    Gone,
}

impl Queue {
    /// Gets in line.
    pub fn join(&mut self, ticket: Ticket) -> Joined {
        let same_key = |other: &Ticket| other.key.is_some() && other.key == ticket.key;
        let superseded = self.waiting.iter().position(same_key).and_then(|at| self.waiting.remove(at));
        self.waiting.push_back(ticket);
        self.advance();
        Joined { superseded: superseded.map(|ticket| ticket.number) }
    }

    /// Leaves, from whatever place.
    pub fn leave(&mut self, number: DeploymentNumber) {
        if self.running.as_ref().is_some_and(|ticket| ticket.number == number) {
            self.running = None;
        }
        self.waiting.retain(|ticket| ticket.number != number);
        self.advance();
    }

    pub fn standing(&self, number: DeploymentNumber) -> Standing {
        match &self.running {
            Some(ticket) if ticket.number == number => Standing::Turn,
            running => match self.waiting.iter().position(|ticket| ticket.number == number) {
                Some(ahead) => {
                    Standing::Behind { holder: running.as_ref().map(|t| t.title.clone()).unwrap_or_default(), ahead }
                }
                None => Standing::Gone,
            },
        }
    }

    pub fn is_idle(&self) -> bool {
        self.running.is_none() && self.waiting.is_empty()
    }

    fn advance(&mut self) {
        if self.running.is_none() {
            self.running = self.waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(number: u32, key: &str) -> Ticket {
        Ticket { number: DeploymentNumber(number), key: Some(key.into()), title: format!("#{number} by {key}") }
    }

    #[test]
    fn first_come_first_served() {
        let mut queue = Queue::default();
        queue.join(ticket(1, "a"));
        queue.join(ticket(2, "b"));
        queue.join(ticket(3, "c"));
        assert_eq!(queue.standing(DeploymentNumber(1)), Standing::Turn);
        assert_eq!(queue.standing(DeploymentNumber(3)), Standing::Behind { holder: "#1 by a".into(), ahead: 1 });
        queue.leave(DeploymentNumber(1));
        assert_eq!(queue.standing(DeploymentNumber(2)), Standing::Turn);
        queue.leave(DeploymentNumber(2));
        queue.leave(DeploymentNumber(3));
        assert!(queue.is_idle());
    }

    #[test]
    fn a_newer_push_of_the_same_key_replaces_its_waiting_one_but_never_the_running_one() {
        let mut queue = Queue::default();
        assert_eq!(queue.join(ticket(1, "a")).superseded, None);
        assert_eq!(queue.join(ticket(2, "a")).superseded, None, "the running one stays");
        assert_eq!(queue.join(ticket(3, "b")).superseded, None);
        assert_eq!(queue.join(ticket(4, "a")).superseded, Some(DeploymentNumber(2)));
        assert_eq!(queue.standing(DeploymentNumber(2)), Standing::Gone);
        assert_eq!(queue.standing(DeploymentNumber(3)), Standing::Behind { holder: "#1 by a".into(), ahead: 0 });
    }
}
