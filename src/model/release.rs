//! The number of a release within its project: v1, v2, …; and what leaving a release means for data.

use std::fmt;

/// `v42`: counts the releases of one project, never re-used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReleaseVersion(pub u32);

impl ReleaseVersion {
    /// Reads `v42` or `42`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('v').unwrap_or(text);
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().ok().map(Self)).flatten().filter(|v| v.0 > 0)
    }
}

impl fmt::Display for ReleaseVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// What it takes to go back from a release to the one before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum RollbackClass {
    /// Its code alone: it changes no data that an older version would not understand.
    #[default]
    Code,
    /// Code and data together: something of it (the `release:` line, a hook) may change data.
    CodeAndData,
    /// There is no way back: the project says so.
    Forbidden,
}

impl RollbackClass {
    pub const ALL: [RollbackClass; 3] = [RollbackClass::Code, RollbackClass::CodeAndData, RollbackClass::Forbidden];

    pub fn as_str(self) -> &'static str {
        match self {
            RollbackClass::Code => "code",
            RollbackClass::CodeAndData => "code+data",
            RollbackClass::Forbidden => "forbidden",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == text)
    }
}

/// One of the four files that a release is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ReleasePart {
    Sha256,
    Signature,
    Provenance,
    Archive,
}

impl ReleasePart {
    /// The archive last: what is small, and may already refuse it, travels first.
    pub const ALL: [ReleasePart; 4] =
        [ReleasePart::Sha256, ReleasePart::Signature, ReleasePart::Provenance, ReleasePart::Archive];

    pub fn as_str(self) -> &'static str {
        match self {
            ReleasePart::Archive => "archive",
            ReleasePart::Sha256 => "sha256",
            ReleasePart::Signature => "sig",
            ReleasePart::Provenance => "intoto",
        }
    }

    /// What the name of the file adds to the archive's.
    pub fn suffix(self) -> &'static str {
        match self {
            ReleasePart::Archive => "",
            ReleasePart::Sha256 => ".sha256",
            ReleasePart::Signature => ".sig",
            ReleasePart::Provenance => ".intoto.json",
        }
    }

    /// Bytes that such a file never exceeds.
    pub fn most(self) -> u64 {
        match self {
            ReleasePart::Archive => 16 << 30,
            ReleasePart::Sha256 => 4 << 10,
            ReleasePart::Signature => 64 << 10,
            ReleasePart::Provenance => 4 << 20,
        }
    }
}
