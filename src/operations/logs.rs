//! `log NAME N [-f]`: a deployment's log. `logs NAME [-f]`: what the application prints.

use super::authorize::Action;
use super::records::Reply;
use super::{Platform, Talk};
use crate::model::{Actor, Code, Failure};
use crate::runtime::follow;
use crate::system::reading;

/// A deployment's log larger than this is cut at the front when it is shown at once.
const LOG_MAX: u64 = 64 << 20;

impl Platform {
    pub(super) async fn log(
        &self,
        actor: &Actor,
        name: &str,
        number: Option<u32>,
        follow: bool,
        talk: &Talk,
    ) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::Read, name)?;
        let row = match number {
            Some(number) => self.deployment(&project, number)?,
            None => self
                .context
                .store
                .deployments(&project.name, 1)?
                .pop()
                .ok_or_else(|| Failure::new(Code::NotFound, format!("{} was never deployed", project.name)))?,
        };
        let running = self.desk.handle(&project.name, row.number).filter(|_| follow);
        if let Some(handle) = running {
            let mut reader = handle.log.reader().map_err(|error| Failure::internal("read the log", &error))?;
            while let Some(bytes) = reader.next().await {
                if talk.out(bytes).await.is_err() {
                    break;
                }
            }
            return Ok(Reply::Nothing {});
        }
        let path = self.context.project_places(&project.name).deployment_log(row.number);
        let bytes = reading::read_regular(&path, LOG_MAX)
            .map_err(|error| Failure::new(Code::NotFound, format!("no log of deployment {}: {error}", row.number)))?;
        let _ = talk.out(bytes).await;
        Ok(Reply::Nothing {})
    }

    pub(super) async fn logs(
        &self,
        actor: &Actor,
        name: &str,
        follow: bool,
        lines: usize,
        talk: &Talk,
    ) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::Read, name)?;
        let path = self.context.project_places(&project.name).app_log();
        if !follow {
            let tail = tokio::task::block_in_place(|| follow::tail(&path, lines))
                .map_err(|error| Failure::internal("read the application's log", &error))?;
            for line in tail {
                if talk.out(format!("{line}\n").into_bytes()).await.is_err() {
                    break;
                }
            }
            return Ok(Reply::Nothing {});
        }
        let mut following = follow::follow(path, lines);
        loop {
            tokio::select! {
                line = following.recv() => {
                    let Some(line) = line else { break };
                    if talk.out(format!("{line}\n").into_bytes()).await.is_err() {
                        break;
                    }
                }
                () = talk.0.closed() => break,
            }
        }
        Ok(Reply::Nothing {})
    }
}
