//! The steps about the disk: data's file system is made larger before anything is unpacked; owners and modes are put
//! right before the branch moves.

use super::{Done, Execution};
use crate::model::{Because, Failure};
use crate::notify::words;
use crate::pipeline::permissions::{self, Extent};
use crate::pipeline::room;
use crate::storage::enlarging::Decision;
use crate::system::privileged::{self, Operation};
use crate::system::tools::Tool;
use crate::system::volumes::{self, Device, Volume};

/// Things left alone that the log names.
const NAMED: usize = 5;

impl Execution<'_> {
    /// Never a reason to fail: what there is may be enough, and what is not will say so.
    pub(super) async fn enlarge(&mut self) -> Result<Done, Failure> {
        match self.enlarge_when_low().await {
            Err(failure) => {
                self.tell_warning(&format!("data's file system was not enlarged: {failure}"));
                Ok(Done::Skipped(Because::CannotBeEnlarged))
            }
            done => done,
        }
    }

    async fn enlarge_when_low(&self) -> Result<Done, Failure> {
        let (volume, decision) = room::decide(self.context, &self.places)?;
        if matches!(decision, Decision::Leave(Because::EnoughRoom | Because::CannotBeEnlarged)) {
            return skipped(decision);
        }
        // First what an earlier enlargement left undone: its file has grown already.
        let Device::Loop { bytes, .. } = &volume.device else { return skipped(decision) };
        grow(&volume, *bytes).await?;
        let (halfway, decision) = room::decide(self.context, &self.places)?;
        if let Decision::Enlarge { to } = decision {
            grow(&halfway, to).await?;
        } else if halfway.space.size == volume.space.size {
            return skipped(decision);
        }
        let now = volumes::space(&self.places.data())?;
        let note = format!("data has {} instead of {}", words::size(now.size), words::size(volume.space.size));
        self.tell_detail(&note);
        Ok(Done::Did(note))
    }

    /// What another user made of the project's trees meanwhile is put right, or said.
    pub(super) fn fix_permissions(&mut self) -> Result<Done, Failure> {
        let done = permissions::fix(self.context, &self.order.project, Extent::Deployment)?;
        for path in done.left_alone.iter().take(NAMED) {
            let shown = path.strip_prefix(self.places.root()).unwrap_or(path);
            self.tell_warning(&format!("{} has a wrong owner and was left alone", shown.display()));
        }
        Ok(Done::Did(permissions::words(&done)))
    }
}

fn skipped(decision: Decision) -> Result<Done, Failure> {
    match decision {
        Decision::Leave(because) => Ok(Done::Skipped(because)),
        Decision::Enlarge { .. } => Ok(Done::Skipped(Because::CannotBeEnlarged)),
    }
}

/// The file behind the device, the device, the file system: each takes what the one before has, and may be done again.
async fn grow(volume: &Volume, to: u64) -> Result<(), Failure> {
    let Device::Loop { device, file, .. } = &volume.device else { return Ok(()) };
    let operation = Operation::GrowLoop { device: device.clone(), file: file.clone(), to };
    tokio::task::block_in_place(|| privileged::perform(&operation))?;
    let mounted = volume.mounted.point.clone();
    let tool = match volume.mounted.kind.as_str() {
        "xfs" => Tool::GrowXfs { mounted },
        "btrfs" => Tool::GrowBtrfs { mounted },
        _ => Tool::GrowExt { device: device.clone() },
    };
    privileged::run(&tool).await?;
    tokio::task::block_in_place(|| {
        privileged::perform(&Operation::SyncFileSystem { path: volume.mounted.point.clone() })
    })
}
