//! Process types of a Procfile, their instances, and how a process ends.

use std::fmt;

/// Name of a line of the Procfile: `[A-Za-z0-9_-]{1,40}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProcessType(String);

impl ProcessType {
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        (plain && (1..=40).contains(&text.len()) && !text.starts_with('-')).then(|| Self(text.to_owned()))
    }

    pub fn web() -> Self {
        Self("web".into())
    }

    /// Gets `$PORT`, is checked and routed.
    pub fn is_web(&self) -> bool {
        self.0 == "web"
    }

    /// Runs once before the switch instead of being kept running.
    pub fn is_release(&self) -> bool {
        self.0 == "release"
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProcessType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One instance of a process type: `web.1`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProcessName {
    pub kind: ProcessType,
    /// Counts from 1.
    pub index: u32,
}

impl ProcessName {
    /// Reads `web.1`.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, index) = text.rsplit_once('.')?;
        let index = index.parse().ok().filter(|index| *index > 0)?;
        Some(Self { kind: ProcessType::parse(kind)?, index })
    }
}

impl fmt::Display for ProcessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind, self.index)
    }
}

/// How a process ended, as the people who wrote it need to hear it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// Killed by the kernel because its cgroup reached the memory limit (bytes).
    OutOfMemory {
        limit: u64,
    },
    /// Ran longer than allowed (seconds); its whole cgroup was killed.
    TimedOut {
        after: u64,
    },
    /// Killed because somebody cancelled.
    Cancelled,
    /// The program could not be started at all; the text says why.
    NotStarted(String),
}

impl Exit {
    pub fn is_success(&self) -> bool {
        matches!(self, Exit::Code(0))
    }

    /// The exit status as a shell says it: 128 and the number of the signal, 124 for the time that ran out, 126 for what
    /// could not be started.
    pub fn status(&self) -> u8 {
        match self {
            Exit::Code(code) => u8::try_from(*code).unwrap_or(255),
            Exit::Signal(number) => u8::try_from(128 + *number).unwrap_or(255),
            Exit::OutOfMemory { .. } => 137,
            Exit::TimedOut { .. } => 124,
            Exit::Cancelled => 130,
            Exit::NotStarted(_) => 126,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit {code}"),
            Exit::Signal(number) => write!(f, "killed by signal {number} ({})", signal_name(*number)),
            Exit::OutOfMemory { limit } => write!(f, "killed: memory limit of {} MB reached", limit / 1_000_000),
            Exit::TimedOut { after } => write!(f, "killed: ran longer than {after} s"),
            Exit::Cancelled => f.write_str("cancelled"),
            Exit::NotStarted(why) => write!(f, "could not be started: {why}"),
        }
    }
}

/// The usual name of a Linux signal number.
pub fn signal_name(number: i32) -> &'static str {
    match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => "unnamed",
    }
}
