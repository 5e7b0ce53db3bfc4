//! One file of a release, however often the connection breaks: every try goes on where the last one ended.

use super::Upstream;
use crate::model::{Failure, ProjectName, ReleasePart};
use std::fs::File;
use std::io::Write;
use std::time::Duration;

/// Tries in a row that bring not one byte.
const FRUITLESS: u32 = 5;
/// Pause after a first fruitless try; doubles with each.
const PAUSE: Duration = Duration::from_millis(200);

/// Why an exec came to no end.
#[derive(Debug)]
pub enum Broken {
    /// The way there or the connection: it may work the next time.
    Cut(String),
    /// It will not get better.
    Refused(Failure),
}

/// Which bytes are wanted.
pub struct Wanted<'a> {
    pub project: &'a ProjectName,
    /// SHA-256 of the archive: that very release, whatever else has its number.
    pub sha256: &'a str,
    pub part: ReleasePart,
    /// Of the whole file.
    pub size: u64,
}

impl Upstream {
    /// Appends to `file` what of `wanted` is missing, `at` bytes being there. Blocks on writing, and hears of every
    /// byte by `progress`.
    ///
    /// # Errors
    /// `Unreachable` when nothing comes any more; what the other server answered.
    pub async fn fetch(&self, wanted: &Wanted<'_>, file: &mut File, mut at: u64) -> Result<(), Failure> {
        let mut fruitless = 0;
        while at < wanted.size {
            let before = at;
            let why = match self.fetch_once(wanted, file, &mut at).await {
                Ok(()) if at == wanted.size => return Ok(()),
                Ok(()) => "it ended before its end".to_owned(),
                Err(Broken::Refused(failure)) => return Err(failure),
                Err(Broken::Cut(why)) => why,
            };
            fruitless = if at > before { 0 } else { fruitless + 1 };
            if fruitless >= FRUITLESS {
                let what = format!("{} after {at} of {} bytes", why, wanted.size);
                return Err(self.unreachable(&what).hint("what came is kept; the same again goes on from there"));
            }
            tokio::time::sleep(PAUSE * 2_u32.pow(fruitless)).await;
        }
        Ok(())
    }

    async fn fetch_once(&self, wanted: &Wanted<'_>, file: &mut File, at: &mut u64) -> Result<(), Broken> {
        let words: Vec<String> =
            ["release", "fetch", wanted.project.as_str(), wanted.sha256, "--part", wanted.part.as_str(), "--from"]
                .into_iter()
                .map(str::to_owned)
                .chain([at.to_string()])
                .collect();
        let mut unwritten = None;
        let ended = self
            .run(&words, &mut |bytes| {
                if *at + bytes.len() as u64 > wanted.size {
                    return false;
                }
                match file.write_all(bytes) {
                    Ok(()) => {
                        *at += bytes.len() as u64;
                        true
                    }
                    Err(error) => {
                        unwritten = Some(error);
                        false
                    }
                }
            })
            .await;
        if let Some(error) = unwritten {
            return Err(Broken::Refused(full_or_broken(error)));
        }
        match ended? {
            ended if ended.code == 0 => Ok(()),
            ended => Err(Broken::Refused(self.refusal(&ended, b""))),
        }
    }
}

fn full_or_broken(error: std::io::Error) -> Failure {
    crate::system::files::FileError::new("write", std::path::Path::new("incoming/"), error).into()
}
