//! What a long run is asked for, and the interruption of it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Words after `bin/faults`, which gives them in COMMIS_FAULTS.
#[derive(Clone, Debug)]
pub struct Options {
    pub seed: u64,
    pub kills: u64,
    pub syscalls: u64,
    pub powercuts: u64,
    pub full: u64,
    pub errors: u64,
    pub reboots: u64,
    pub clocks: u64,
    pub soak: u64,
    pub model: u64,
    pub workers: u64,
    pub only: Vec<String>,
    /// Walks: only wishes that are named so, `Carry(Good)`.
    pub wish: Option<String>,
    /// Nothing new begins after so long.
    pub minutes: u64,
    /// Where what went wrong is written down.
    pub evidence: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            kills: 1000,
            syscalls: 40,
            powercuts: 100,
            full: 60,
            errors: 12,
            reboots: 60,
            clocks: 60,
            soak: 1000,
            model: 40,
            workers: 3,
            only: Vec::new(),
            wish: None,
            minutes: 180,
            evidence: std::env::temp_dir().join("commis-faults").join("evidence"),
        }
    }
}

impl Options {
    pub fn parse(words: &str) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = words.split_whitespace();
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("{word} wants a number, not {value}"));
            match word {
                "--seed" => options.seed = number()?,
                "--kills" => options.kills = number()?,
                "--syscalls" => options.syscalls = number()?,
                "--powercuts" => options.powercuts = number()?,
                "--full" => options.full = number()?,
                "--errors" => options.errors = number()?,
                "--reboots" => options.reboots = number()?,
                "--clocks" => options.clocks = number()?,
                "--soak" => options.soak = number()?,
                "--model" => options.model = number()?,
                "--workers" => options.workers = number()?.max(1),
                "--minutes" => options.minutes = number()?,
                "--only" => options.only.extend(value.split(',').map(str::to_owned)),
                "--wish" => options.wish = Some(value.to_owned()),
                "--evidence" => options.evidence = value.into(),
                _ => return Err(format!("unknown option {word}")),
            }
        }
        Ok(options)
    }

    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.starts_with(only.as_str()))
    }
}

static STOP: AtomicBool = AtomicBool::new(false);

/// Whether somebody pressed Ctrl-C or time is over: what runs is finished, and nothing new begun.
pub fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// From here on Ctrl-C and the end of the time are noticed instead of being the end.
pub fn notice_the_end(after: Duration) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let until = Instant::now() + after;
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let mut term = signal(SignalKind::terminate()).expect("a signal");
            let mut int = signal(SignalKind::interrupt()).expect("a signal");
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
                () = tokio::time::sleep_until(until.into()) => {}
            }
        });
        STOP.store(true, Ordering::Relaxed);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood_or_refused() {
        let options = Options::parse("--seed 7 --only kills,soak --kills 5").unwrap();
        assert_eq!((options.seed, options.kills), (7, 5));
        assert!(options.wants("kills") && !options.wants("powercuts-xfs"));
        assert!(Options::parse("--fly 1").is_err() && Options::parse("--seed x").is_err());
    }
}
