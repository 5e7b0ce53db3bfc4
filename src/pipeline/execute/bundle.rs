//! bundle and unpack: `build/` becomes a release archive, the archive becomes the tree that will run.

use super::{Done, Execution, missing, proofs};
use crate::archives::listed::{Listed, ListedFile, ListedItem, pack_listed};
use crate::archives::{self, Buildpack, Effort, Expect, Links, Manifest, ManifestBase, Packed, UnpackLimits};
use crate::buildpacks::Choice;
use crate::config::procfile;
use crate::git::{self, Kind};
use crate::layouts::places;
use crate::model::{
    Because, Code, CommitId, Failure, ProcessType, ProjectName, ReleaseVersion, Repository, RollbackClass,
};
use crate::notify::words::{self, Ready, Stage};
use crate::pipeline::{Goal, data, shelving};
use crate::store::ReleaseRecord;
use crate::system::{UserIds, clock, reading};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Threads that compress.
const THREADS: usize = 2;
const PROCFILE: &str = "Procfile";
const PROCFILE_MAX: u64 = 1 << 20;

/// What becomes the release.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// `build/`, as hooks and buildpack left it.
    Build,
    /// The commit's own tree.
    Commit,
}

impl Execution<'_> {
    pub(super) async fn pack(&mut self, origin: Origin) -> Result<Done, Failure> {
        let (name, number) = (&self.order.project.name, self.order.number);
        let commit = self.commit().ok_or_else(|| missing("a commit"))?;
        let version = self.context.store.take_version(name, number)?;
        self.work.version = Some(version);
        let base = self.manifest_base(version, (&commit, origin)).await?;
        let file_name = places::release_file_name(name, version, commit.short());
        let out = self.places.release(&file_name);
        let before = self.live_archive();
        let effort = Effort { threads: THREADS, before: before.as_deref() };
        let packed = tokio::task::block_in_place(|| match origin {
            Origin::Build => archives::pack(&self.places.build(), &base, &out, effort),
            Origin::Commit => self.pack_commit(&base, (&out, effort)),
        })?;
        self.accompany(&file_name, &packed)?;
        let release = self.row(&packed.manifest, (&packed.archive_sha256, packed.archive_bytes));
        self.context.store.add_release(name, &release)?;
        self.work.release = Some(release);
        let note = format!("{file_name} {}", words::size(packed.archive_bytes));
        self.close_stage(Stage::Package, &note);
        Ok(Done::Did(note))
    }

    async fn manifest_base(
        &self,
        version: ReleaseVersion,
        (commit, origin): (&CommitId, Origin),
    ) -> Result<ManifestBase, Failure> {
        Ok(ManifestBase {
            project: self.order.project.name.clone(),
            version,
            environment: Some(self.gathered.config.environment().to_owned()),
            commit: commit.clone(),
            pillar_commit: self.gathered.pillar_commit.clone(),
            mode: self.gathered.mode,
            buildpacks: self.buildpacks(),
            processes: self.processes(origin).await?,
        })
    }

    /// A release without an archive: what the tree at work runs, and with which variables.
    pub(super) async fn describe(&mut self) -> Result<Done, Failure> {
        let (name, number) = (&self.order.project.name, self.order.number);
        let commit = self.commit().ok_or_else(|| missing("a commit"))?;
        let version = self.context.store.take_version(name, number)?;
        self.work.version = Some(version);
        let manifest = Manifest::of_edited(self.manifest_base(version, (&commit, Origin::Build)).await?);
        let release = ReleaseRecord { file_name: String::new(), ..self.row(&manifest, ("", 0)) };
        self.context.store.add_release(name, &release)?;
        self.work.release = Some(release);
        self.work.manifest = Some(manifest);
        let skipped = words::skipped(Because::EditedInPlace);
        self.close_stage(Stage::Package, &skipped);
        self.close_stage(Stage::BackUp, &skipped);
        Done::quietly()
    }

    fn row(&self, manifest: &Manifest, (sha256, bytes): (&str, u64)) -> ReleaseRecord {
        let base = &manifest.base;
        ReleaseRecord {
            version: base.version,
            commit: base.commit.to_string(),
            pillar_commit: base.pillar_commit.as_ref().map(ToString::to_string),
            file_name: places::release_file_name(&base.project, base.version, base.commit.short()),
            sha256: sha256.to_owned(),
            bytes,
            manifest: String::from_utf8_lossy(&manifest.to_json()).into_owned(),
            environment: environment_json(&self.gathered.environment),
            served: None,
            rollback: self.class(base),
            created_at: clock::now(),
            origin: crate::store::COOKED.to_owned(),
            signer: None,
            tested_at: None,
            pinned: false,
        }
    }

    /// Signature and provenance, beside the archive; durable with it, before the exchange.
    fn accompany(&self, file_name: &str, packed: &Packed) -> Result<(), Failure> {
        let about = proofs::About {
            project: &self.order.project.name,
            file_name,
            sha256: &packed.archive_sha256,
            manifest: &packed.manifest,
        };
        proofs::sign(self.context, &about)?;
        proofs::state(self.context, &about, (self.order.number, clock::now()))
    }

    fn buildpacks(&self) -> Vec<Buildpack> {
        let choice = self.gathered.source.as_ref().and_then(|source| source.choice.as_ref());
        let named = |choice: &Choice| Buildpack { name: choice.pack.name.clone(), digest: Some(choice.pack.digest()) };
        choice.map(named).into_iter().collect()
    }

    /// The archive of what is live: most of the next one stands in it already.
    fn live_archive(&self) -> Option<PathBuf> {
        let (name, live) = (&self.order.project.name, self.order.project.live?);
        let release = self.context.store.release(name, live).ok().flatten()?;
        release.has_archive().then(|| self.places.release(&release.file_name))
    }

    /// What it will take to go back from it.
    fn class(&self, base: &ManifestBase) -> RollbackClass {
        let facts = &self.facts;
        data::class(facts.data.declared, &facts.hooks, base.processes.keys().any(ProcessType::is_release))
    }

    /// The commit's tree, object by object.
    fn pack_commit(&self, base: &ManifestBase, how: (&Path, Effort<'_>)) -> Result<Packed, Failure> {
        let source = self.gathered.source.as_ref().ok_or_else(|| missing("a commit"))?;
        let objects = git::open(&self.places.repository(Repository::Project)).map_err(Failure::from)?;
        let directories = source.tree.directories.iter().cloned();
        let directories = directories.map(|path| Listed { path, item: ListedItem::Directory });
        let files = source.tree.entries.iter().enumerate().map(|(number, entry)| Listed {
            path: entry.path.clone(),
            item: match &entry.kind {
                Kind::File { executable: true } => ListedItem::Program(listed(number, entry)),
                Kind::File { executable: false } => ListedItem::Plain(listed(number, entry)),
                Kind::Symlink { target } => ListedItem::Link(target.clone()),
            },
        });
        let mut read = |number: usize| {
            let entry = source.tree.entries.get(number).ok_or_else(|| missing("a file of the tree"))?;
            objects.content(entry).map_err(Failure::from)
        };
        pack_listed(directories.chain(files).collect(), &mut read, base, how)
    }

    /// The Procfile as the build left it, over the buildpack's defaults.
    async fn processes(&self, origin: Origin) -> Result<BTreeMap<ProcessType, String>, Failure> {
        let declared = match origin {
            Origin::Build => self.built_procfile()?,
            Origin::Commit => self.pushed_procfile()?,
        };
        let declared = declared.map(|bytes| procfile::parse(&bytes)).transpose()?.unwrap_or_default();
        if declared.keys().any(ProcessType::is_web) {
            return Ok(declared);
        }
        let mut processes = self.default_processes().await?;
        processes.extend(declared);
        Ok(processes)
    }

    fn built_procfile(&self) -> Result<Option<Vec<u8>>, Failure> {
        match reading::read_regular(&self.workshop().join(PROCFILE), PROCFILE_MAX) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::new(Code::BadConfig, format!("{PROCFILE}: {error}"))),
        }
    }

    fn pushed_procfile(&self) -> Result<Option<Vec<u8>>, Failure> {
        let commit = self.commit().ok_or_else(|| missing("a commit"))?;
        let objects = git::open(&self.places.repository(Repository::Project)).map_err(Failure::from)?;
        objects.read_file(&commit, PROCFILE, PROCFILE_MAX as usize).map_err(Failure::from)
    }

    /// What the buildpack says, where the Procfile may not say everything.
    async fn default_processes(&self) -> Result<BTreeMap<ProcessType, String>, Failure> {
        if let Some(known) = self.known_release() {
            return Ok(known.processes.clone());
        }
        match self.gathered.source.as_ref().and_then(|source| source.choice.as_ref()) {
            Some(choice) => Ok(self.release_info(choice).await?.processes),
            None => Ok(BTreeMap::new()),
        }
    }

    pub(super) fn unpack(&mut self) -> Result<Done, Failure> {
        let release = match self.work.release.take() {
            Some(release) => release,
            None => self.chosen_release()?,
        };
        let (limits, links) = match self.order.goal {
            Goal::Promotion(_) => (UnpackLimits::default(), shelving::LINKS),
            Goal::Commit { .. } | Goal::Release(_) | Goal::Standing { .. } => {
                (UnpackLimits { ratio: None, ..UnpackLimits::default() }, Links::AsBuilt)
            }
        };
        let expect = Expect { sha256: release.sha256.clone(), limits };
        let archive = self.places.release(&release.file_name);
        let unpacked =
            tokio::task::block_in_place(|| archives::unpack(&archive, &expect, &self.work.tree, UserIds::of(0), links));
        self.work.version = Some(release.version);
        self.work.release = Some(release);
        let unpacked = unpacked?;
        let note = format!("{} files, {}", unpacked.files, words::size(unpacked.bytes));
        self.work.manifest = Some(unpacked.manifest);
        self.adopt()?;
        if matches!(self.order.goal, Goal::Promotion(_)) {
            self.close_stage(Stage::Unpack, &note);
        }
        Ok(Done::Did(note))
    }

    /// The release that a rollback names.
    fn chosen_release(&mut self) -> Result<ReleaseRecord, Failure> {
        let Goal::Release(version) = self.order.goal else { return Err(missing("a release")) };
        let name = &self.order.project.name;
        self.context.store.choose_version(name, self.order.number, version)?;
        self.close_stage(Stage::Package, &words::ready(version, Ready::Archive));
        self.context.store.release(name, version)?.ok_or_else(|| no_release(name, version))
    }
}

/// A release that is not kept.
pub fn no_release(project: &ProjectName, version: ReleaseVersion) -> Failure {
    Failure::new(Code::NotFound, format!("no release {version} is kept"))
        .hint(format!("commis releases {project} lists them"))
}

fn listed(number: usize, entry: &git::Entry) -> ListedFile {
    ListedFile { number, size: entry.size, identity: archives::Identity::of_blob(&entry.id.0) }
}

fn environment_json(environment: &[(String, String)]) -> String {
    let map: BTreeMap<&str, &str> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    serde_json::to_string(&map).unwrap_or_else(|_| "{}".into())
}
