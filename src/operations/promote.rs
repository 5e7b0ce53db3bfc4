//! `promote`: a release that another server cooked is deployed here, to the byte. Which one is settled before anything is
//! queued; what it is worth is judged in the deployment.

use super::authorize::{Action, authorize, no_project};
use super::deploy::Wish;
use super::records::Reply;
use super::{Input, Platform, Talk};
use crate::model::{Actor, Code, CommitId, Failure, ProjectName, ReleaseVersion, Remote, Trigger};
use crate::notify::words;
use crate::pipeline::promotion::{Branch, Source};
use crate::pipeline::release_policy::{Age, Insistence, Tested};
use crate::pipeline::{Goal, Manner, Promotion};
use crate::store::{ProjectRecord, ReleaseRecord};
use crate::upstream::{Head, Upstream, Which};
use crate::verbs::{Despite, PromoteWords};

impl Platform {
    pub(super) async fn promote(
        &self,
        actor: &Actor,
        asked: PromoteWords,
        input: Input,
        talk: &Talk,
    ) -> Result<Reply, Failure> {
        let name = ProjectName::parse(&asked.project).ok_or_else(|| no_project(&asked.project))?;
        // Before the other server is asked: what is not ours to see stays unseen.
        let known = match self.project(actor, Action::Deploy, &asked.project) {
            Ok(project) => Some(project),
            Err(failure)
                if failure.code == Code::NotFound && authorize(actor, Action::ManageProjects, None).is_ok() =>
            {
                None
            }
            Err(failure) => return Err(failure),
        };
        let which = match asked.release_file {
            Some(_) => named_by(&input.read_text().await?, &name)?,
            None => which(asked.release.as_deref(), asked.commit.as_deref())?,
        };
        // A number has the same bytes everywhere: what is on the shelf is not asked for elsewhere.
        if let (Some(project), None, Some(release)) = (&known, &asked.from, self.handed_in(&name, &which)?) {
            let promotion = from_shelf(&release, insistence(asked.despite), None)?;
            return self.deploy_promotion(actor, project.clone(), promotion, talk).await;
        }
        let upstream = self.upstream(asked.from.as_deref())?;
        let head = upstream.head(&name, &which).await?;
        named_alike(&which, &head)?;
        let project = match known {
            Some(project) => project,
            None => self.make_project(actor, &name, (None, Remote::Git)).await?,
        };
        let promotion = promotion(&name, (upstream, head), insistence(asked.despite), None);
        self.deploy_promotion(actor, project, promotion, talk).await
    }

    pub(super) async fn deploy_promotion(
        &self,
        actor: &Actor,
        project: ProjectRecord,
        promotion: Promotion,
        talk: &Talk,
    ) -> Result<Reply, Failure> {
        let name = project.name.to_string();
        if let Some(row) = self.serves_already(&project, &promotion)? {
            let said = format!("{}\n", words::live_already(&project.name, promotion.version, row.number));
            // Who does not listen has the exit code.
            let _ = talk.err(said.into_bytes()).await;
            return Ok(Reply::Deployment(Box::new(self.deployment_record(&row)?)));
        }
        let goal = Goal::Promotion(Box::new(promotion));
        let wish = Wish { project, trigger: Trigger::Promote, goal, with_data: None, manner: Manner::default() };
        let handle = self.launch(actor, wish)?;
        self.follow(&name, handle, talk).await
    }

    /// `deploy` in mode final: what is live once more, with today's pillar.
    pub(super) async fn redeploy_release(
        &self,
        actor: &Actor,
        project: ProjectRecord,
        talk: &Talk,
    ) -> Result<Reply, Failure> {
        let release = self.named_release(&project, None)?;
        // It is live: that it may be here was settled when it came.
        let insistence = Insistence { tested: Tested::OrNot, age: Age::NotOlder };
        let goal = Goal::Promotion(Box::new(from_shelf(&release, insistence, None)?));
        let name = project.name.to_string();
        let manner = Manner::default();
        let handle = self.launch(actor, Wish { project, trigger: Trigger::Redeploy, goal, with_data: None, manner })?;
        self.follow(&name, handle, talk).await
    }

    /// A release that came from elsewhere and is on the shelf, when one was named.
    fn handed_in(&self, project: &ProjectName, which: &Which) -> Result<Option<ReleaseRecord>, Failure> {
        let kept = self.context.store.releases(project)?;
        let is_it = |release: &ReleaseRecord| match which {
            Which::Live => false,
            Which::Named(name) => release.sha256 == *name || release.version.to_string() == *name,
            Which::Commit(commit) => release.commit.starts_with(commit.as_str()) && release.tested_at.is_some(),
        };
        Ok(kept.into_iter().find(|release| release.is_from_elsewhere() && is_it(release)))
    }

    /// The release that a push to a project in mode final names: the newest tested one of the commit, or the chosen one.
    /// What is on the shelf is not asked for elsewhere.
    pub(super) async fn pushed_release(
        &self,
        project: &ProjectRecord,
        commit: &CommitId,
        (chosen, branch): (Option<ReleaseVersion>, Branch),
    ) -> Result<Promotion, Failure> {
        let kept = self.context.store.releases(&project.name)?;
        let fits = |release: &&ReleaseRecord| match chosen {
            Some(version) => release.version == version,
            None => release.commit == commit.as_str() && release.tested_at.is_some(),
        };
        if let Some(release) = kept.iter().find(fits) {
            let promotion = from_shelf(release, Insistence::default(), Some(branch))?;
            return is_of(promotion, commit);
        }
        let upstream = self.upstream(None)?;
        let which = chosen.map_or(Which::Commit(commit.to_string()), |version| Which::Named(version.to_string()));
        let from = upstream.name.clone();
        let head = upstream.head(&project.name, &which).await.map_err(|failure| match failure.code {
            Code::NotFound => failure.hint(format!("nothing is built here: push {} to {from} first", commit.short())),
            _ => failure,
        })?;
        is_of(promotion(&project.name, (upstream, head), Insistence::default(), Some(branch)), commit)
    }

    /// The server to ask: the one that is named, else the only one.
    pub(super) fn upstream(&self, name: Option<&str>) -> Result<Upstream, Failure> {
        let config = self.context.config();
        let known: Vec<&String> = config.upstreams.keys().collect();
        let found = match (name, known.as_slice()) {
            (Some(name), _) => config.upstreams.get_key_value(name),
            (None, [only]) => config.upstreams.get_key_value(only.as_str()),
            (None, _) => None,
        };
        if let Some((name, address)) = found {
            return Ok(Upstream::new(name, address, &self.context.upstream_key));
        }
        let list = known.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        Err(match (name, known.is_empty()) {
            (_, true) => Failure::new(Code::NotFound, "no server is configured that cooks for this one")
                .hint("add [upstreams.staging] with url and host_key to commis.toml; then: systemctl reload commis"),
            (Some(name), false) => {
                let shown = crate::notify::clean_line(name.as_bytes());
                Failure::new(Code::NotFound, format!("no upstream \"{shown}\"")).hint(format!("there are: {list}"))
            }
            (None, false) => {
                Failure::new(Code::Usage, "there is more than one upstream").hint(format!("--from one of: {list}"))
            }
        })
    }
}

/// A branch that names one commit does not deploy another.
fn is_of(promotion: Promotion, commit: &CommitId) -> Result<Promotion, Failure> {
    if promotion.commit == *commit {
        return Ok(promotion);
    }
    let what = format!("commit: {} is of {}, not of {}", promotion.version, promotion.commit.short(), commit.short());
    Err(Failure::new(Code::VerifyFailed, what)
        .hint(format!("push {} instead, or choose another release", promotion.commit.short())))
}

/// What was said about the release.
fn which(release: Option<&str>, commit: Option<&str>) -> Result<Which, Failure> {
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric()) && (1..=64).contains(&text.len());
    match (release, commit) {
        (None, None) => Ok(Which::Live),
        (Some(name), _) if plain(name) => Ok(Which::Named(name.to_owned())),
        (None, Some(commit)) if plain(commit) => Ok(Which::Commit(commit.to_owned())),
        _ => Err(Failure::new(Code::Usage, "a release is named like v42, a commit by its hex digits")),
    }
}

/// The digest in somebody's JSON: that very release and no other.
fn named_by(text: &str, project: &ProjectName) -> Result<Which, Failure> {
    let head = Head::parse(text.as_bytes(), project).map_err(|what| {
        Failure::new(Code::BadConfig, format!("the release file: {what}"))
            .hint(format!("it is what the other server answers to: show {project} 42 --json"))
    })?;
    Ok(Which::Named(head.sha256))
}

/// The other server's answer is about what it was asked for.
fn named_alike(which: &Which, head: &Head) -> Result<(), Failure> {
    let same = match which {
        Which::Live => true,
        Which::Named(name) => *name == head.sha256 || name.trim_start_matches('v') == head.version.0.to_string(),
        Which::Commit(commit) => head.commit.as_str().starts_with(commit.as_str()),
    };
    let wrong = || Failure::new(Code::VerifyFailed, format!("answer: {} is not what was asked for", head.version));
    same.then_some(()).ok_or_else(wrong)
}

/// The goal of deploying what an upstream has.
pub(super) fn promotion(
    project: &ProjectName,
    (upstream, head): (Upstream, Head),
    insistence: Insistence,
    branch: Option<Branch>,
) -> Promotion {
    Promotion {
        version: head.version,
        commit: head.commit.clone(),
        sha256: head.sha256.clone(),
        file_name: head.file_name(project),
        environment: upstream.name.clone(),
        source: Source::Upstream(Box::new(upstream), head),
        insistence,
        branch,
    }
}

/// The goal of deploying what stands on the shelf.
pub(super) fn from_shelf(
    release: &ReleaseRecord,
    insistence: Insistence,
    branch: Option<Branch>,
) -> Result<Promotion, Failure> {
    let commit = release.commit_id().ok_or_else(|| Failure::new(Code::Internal, "a release without a commit"))?;
    Ok(Promotion {
        version: release.version,
        commit,
        sha256: release.sha256.clone(),
        file_name: release.file_name.clone(),
        environment: release.signer.clone().unwrap_or_default(),
        source: Source::Shelf,
        insistence,
        branch,
    })
}

pub(super) fn insistence(despite: Despite) -> Insistence {
    Insistence {
        tested: if despite.untested { Tested::OrNot } else { Tested::Proved },
        age: if despite.downgrade { Age::Any } else { Age::NotOlder },
    }
}
