//! How a command ended, and what a test says of that.

/// A command that has ended.
#[derive(Debug)]
#[must_use = "say whether it succeeded"]
pub struct Ran {
    pub what: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn succeeded(&self) -> &Self {
        assert_eq!(self.code, 0, "{}: {self:#?}", self.what);
        self
    }

    /// With this exit code.
    pub fn failed(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// On either stream, also where a long line of it goes on below.
    pub fn says(&self, text: &str) -> &Self {
        let is_in = |stream: &str| stream.contains(text) || stream.replace("\n       ", " ").contains(text);
        assert!(is_in(&self.stdout) || is_in(&self.stderr), "{text:?} not in {self:#?}");
        self
    }

    pub fn is_silent_about(&self, text: &str) -> &Self {
        assert!(!self.stdout.contains(text) && !self.stderr.contains(text), "{text:?} in {self:#?}");
        self
    }
}
