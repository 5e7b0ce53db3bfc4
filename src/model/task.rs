//! Scheduled tasks: their names, and what is done when they get into each other's way, or their time has passed.

use std::fmt;

/// Name of a task: `[a-z0-9][a-z0-9-]{0,39}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TaskName(String);

impl TaskName {
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        (plain && (1..=40).contains(&text.len()) && !text.starts_with('-')).then(|| Self(text.to_owned()))
    }

    /// Of a line that has no name: by its place among them, from 1.
    pub fn numbered(place: usize) -> Self {
        Self(format!("cron-{place}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What happens when it is time and the run before still runs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Overlap {
    /// This time it is left out.
    #[default]
    Skip,
    /// It starts when the other has ended; several that wait are one.
    Wait,
    /// The other is ended.
    Kill,
}

impl Overlap {
    pub const ALL: [Overlap; 3] = [Overlap::Skip, Overlap::Wait, Overlap::Kill];

    pub fn as_str(self) -> &'static str {
        match self {
            Overlap::Skip => "skip",
            Overlap::Wait => "wait",
            Overlap::Kill => "kill",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|overlap| overlap.as_str() == text)
    }
}

/// What happens when its time passed while the server was down, or the clock jumped over it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Missed {
    /// It is made up for, once, however often it was missed.
    #[default]
    Run,
    Skip,
}

impl Missed {
    pub const ALL: [Missed; 2] = [Missed::Run, Missed::Skip];

    pub fn as_str(self) -> &'static str {
        match self {
            Missed::Run => "run",
            Missed::Skip => "skip",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|missed| missed.as_str() == text)
    }
}
