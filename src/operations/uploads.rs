//! Releases that are just coming in, by the directories that they come into: how many more may come, and which directories
//! nobody writes to any more.

use crate::layouts::ProjectPlaces;
use crate::model::{Code, Failure, ProjectName};
use crate::pipeline::shelving;
use crate::system::{entropy, reading};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Releases of one project that may be on their way in at the same time.
const AT_ONCE: usize = 8;

/// Of all projects; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Uploads(Arc<Mutex<BTreeSet<PathBuf>>>);

/// One on its way in, until it is dropped. The directory is made and removed by whoever has this.
pub(super) struct Upload {
    uploads: Uploads,
    directory: PathBuf,
}

impl Uploads {
    /// # Errors
    /// `Busy` when as many as may be are coming in.
    pub fn begin(&self, project: &ProjectName, places: &ProjectPlaces) -> Result<Upload, Failure> {
        let id = entropy::hex(16).map_err(|error| Failure::internal("name an upload", &error))?;
        let directory = places.incoming_release(&id);
        let mut coming = self.lock();
        if coming.iter().filter(|other| other.parent() == directory.parent()).count() >= AT_ONCE {
            let what = format!("{AT_ONCE} releases of {project} are on their way in already");
            return Err(Failure::new(Code::Busy, what).hint("try again in a minute"));
        }
        coming.insert(directory.clone());
        Ok(Upload { uploads: self.clone(), directory })
    }

    /// Directories of uploads that ended and could not be removed. What a broken promotion left to be gone on with is none.
    pub fn left(&self, places: &ProjectPlaces) -> Result<Vec<PathBuf>, Failure> {
        let names = reading::names(&places.incoming())?.into_iter().filter(|name| !shelving::is_half_fetched(name));
        // Looked at after the names: what came in between is not left.
        let found: Vec<PathBuf> = names.map(|name| places.incoming().join(name)).collect();
        let coming = self.lock();
        Ok(found.into_iter().filter(|path| !coming.contains(path)).collect())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upload {
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.uploads.lock().remove(&self.directory);
    }
}
