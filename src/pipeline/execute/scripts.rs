//! Scripts of the project: hooks, buildpacks, the `release:` line. Each runs as a job in its view and its cgroup.

use super::ended::{self, Ran};
use super::variables::certificates;
use super::{Done, Execution, missing};
use crate::buildpacks::Choice;
use crate::buildpacks::contract::{self, BuildContext, BuildPaths, Call, ReleaseInfo};
use crate::hooks::{self, Hook, Who};
use crate::layouts::places::COMMON_FILE;
use crate::model::{Because, Code, Exit, Failure};
use crate::notify::clean_line;
use crate::notify::words::{self, Stage};
use crate::pipeline::launch;
use crate::pipeline::view::{self, Tools};
use crate::sandbox::{Cancel, Stream, Task};
use crate::system::cgroups::GroupLimits;
use crate::system::{Access, Job, Limits, UserIds, View};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// What takes the lines of a script.
type LineSink<'a> = &'a mut (dyn FnMut(Stream, &[u8]) + Send);

/// More of `bin/release` is not read.
const ANSWER_MAX: usize = 1 << 20;
/// A common tree larger than this is refused.
const COMMON_MAX: u64 = 1 << 20;

/// The pack whose scripts are the project's own.
const INLINE: &str = "inline";
/// A script, ready to run.
struct Script {
    /// For sentences and cgroups: `hook build`, `buildpack python`.
    title: String,
    job: Job,
    deadline: Duration,
}

impl Execution<'_> {
    pub(super) async fn run_hook(&mut self, hook: Hook) -> Result<Done, Failure> {
        if !self.has_hook(hook) {
            return Ok(Done::Skipped(Because::NothingDeclared));
        }
        if hook.runs_as() == Who::BuildUser {
            self.open_stage(Stage::Build, "hooks");
        }
        match hook {
            Hook::Backup => self.prepare_dumps()?,
            Hook::Restore => self.intend_reload()?,
            _ => {}
        }
        let user = self.user_of(hook.runs_as());
        self.write_common(user)?;
        let job = self.hook_job(hook, user)?;
        let script = Script { title: format!("hook {}", hook.name()), job, deadline: self.hook_timeout(hook) };
        self.tell_detail(&format!("hook {}", hook.name()));
        let ran = self.run_script(script).await?;
        if !ran.exit.is_success() {
            let failure = hooks::failure(hook, &ran.exit, Duration::from_secs_f64(ran.seconds));
            return Err(ended::or_full_disk(failure, &ran, self.places.root()));
        }
        self.read_common(hook)?;
        if hook == Hook::Restore {
            self.dumps_restored()?;
        }
        Ok(Done::Did(ran.exit.to_string()))
    }

    pub(super) async fn compile(&mut self) -> Result<Done, Failure> {
        let source = self.gathered.source.as_ref().ok_or_else(|| missing("a commit"))?;
        let choice = source.choice.as_ref().ok_or_else(|| missing("a buildpack"))?;
        self.open_stage(Stage::Build, &format!("{} found: {}", title_of(choice), choice.why));
        if self.known_release().is_some() {
            return Ok(Done::Did("nothing to compile".into()));
        }
        let call = self.pack_call(choice, contract::compile_call)?;
        let deadline = self.build_timeout();
        let title = format!("buildpack {}", choice.pack.name);
        let ran = self.run_script(Script { title: title.clone(), job: self.pack_job(choice, call), deadline }).await?;
        if ran.exit.is_success() {
            return Ok(Done::Did(format!("{}: {}", choice.pack.name, choice.why)));
        }
        Err(ended::failure(Code::BuildFailed, &title, &ran, self.places.root()))
    }

    /// What the buildpack would come to, when that is known without running it.
    pub(super) fn known_release(&self) -> Option<&ReleaseInfo> {
        self.gathered.source.as_ref()?.known.as_ref()
    }

    /// `bin/release` of the buildpack: default processes and variables.
    pub(super) async fn release_info(&self, choice: &Choice) -> Result<ReleaseInfo, Failure> {
        let call = self.pack_call(choice, contract::release_call)?;
        let script = std::path::Path::new(call.argv.first().map(String::as_str).unwrap_or_default());
        let inside = script.strip_prefix(self.places.run()).ok().map(|path| self.workshop().join(path));
        if inside.is_some_and(|path| !path.is_file()) {
            return Ok(ReleaseInfo::default());
        }
        let title = format!("buildpack {} release", choice.pack.name);
        let mut text = Vec::new();
        let script = Script { title: title.clone(), job: self.pack_job(choice, call), deadline: self.build_timeout() };
        let ran = self.run_quietly(script, &mut text).await?;
        if !ran.exit.is_success() {
            return Err(ended::failure(Code::BuildFailed, &title, &ran, self.places.root()));
        }
        contract::parse_release(&String::from_utf8_lossy(&text))
    }

    fn pack_call(&self, choice: &Choice, call: fn(BuildPaths<'_>, &BuildContext<'_>) -> Call) -> Result<Call, Failure> {
        let run = self.places.run();
        let pack = if choice.pack.name == INLINE { run.clone() } else { self.places.view_buildpack() };
        let (cache, env_dir) = (self.places.cache(), self.places.view_env());
        let certificates = certificates();
        let (settings, platform) = (self.pack_settings(), self.platform_variables());
        let context = BuildContext {
            project: &self.order.project.name,
            mode: self.gathered.mode,
            deployment: self.order.number,
            release: self.work.version,
            commit: &self.commit().ok_or_else(|| missing("a commit"))?,
            certificates: certificates.as_deref(),
            settings: &settings,
            platform: &platform,
        };
        Ok(call(BuildPaths { pack: &pack, build: &run, cache: &cache, env_dir: &env_dir }, &context))
    }

    fn pack_job(&self, choice: &Choice, call: Call) -> Job {
        let directory = self.context.places.buildpacks().join(&choice.pack.name);
        let pack = (choice.pack.name != INLINE).then_some(directory.as_path());
        Job {
            argv: call.argv,
            env: call.env,
            directory: call.directory,
            user: self.order.project.build_user,
            view: self.build_view(pack),
            limits: Limits::default(),
            cgroups: Vec::new(),
        }
    }

    fn build_timeout(&self) -> Duration {
        let most = self.gathered.config.builds.timeout;
        self.settings.build.timeout.map_or(most, |asked| asked.min(most))
    }

    pub(super) async fn release_command(&mut self) -> Result<Done, Failure> {
        let manifest = self.work.manifest.as_ref().ok_or_else(|| missing("a manifest"))?;
        let Some(command) =
            manifest.base.processes.iter().find(|(kind, _)| kind.is_release()).map(|(_, command)| command.clone())
        else {
            return Ok(Done::Skipped(Because::NothingDeclared));
        };
        self.touch()?;
        let name = &self.order.project.name;
        let running = self.running()?;
        let job = Job {
            argv: launch::argv(&command, running.profile()),
            env: running.environment_of("release.1", None),
            directory: self.places.run(),
            user: self.order.project.app_user,
            view: View {
                network: self.deployment_network(),
                ..view::app_view(name, &self.places, &self.work.tree, &self.context.exe)
            },
            limits: Limits::default(),
            cgroups: Vec::new(),
        };
        self.tell_detail("release command");
        let script = Script { title: "release command".into(), job, deadline: self.gathered.config.hooks.timeout };
        let ran = self.run_script(script).await?;
        if ran.exit.is_success() {
            return Ok(Done::Did(ran.exit.to_string()));
        }
        Err(ended::failure(Code::ReleaseFailed, "release command", &ran, self.places.root()))
    }

    fn hook_timeout(&self, hook: Hook) -> Duration {
        let config = &self.gathered.config;
        match hook {
            Hook::Backup | Hook::Restore => config.backups.timeout,
            _ => config.hooks.timeout,
        }
    }

    fn hook_job(&self, hook: Hook, user: UserIds) -> Result<Job, Failure> {
        let name = &self.order.project.name;
        let view = match hook.runs_as() {
            Who::BuildUser => self.build_view(None),
            Who::AppUser => {
                let tree = if hook == Hook::Restore { self.restorer_tree() } else { self.live_tree() };
                let view = view::deploy_view(name, &self.places, self.order.number, &tree, &self.context.exe);
                let view = View { network: self.deployment_network(), ..view };
                let access = if hook == Hook::Restore { Access::ReadOnly } else { Access::ReadWrite };
                view::with_dumps(view, &self.places, self.dumps_for(hook)?, access)
            }
        };
        Ok(Job {
            argv: vec![self.places.run().join(hooks::DIRECTORY).join(hook.name()).display().to_string()],
            env: self.hook_environment(hook),
            directory: self.places.run(),
            user,
            view,
            limits: Limits::default(),
            cgroups: Vec::new(),
        })
    }

    fn build_view(&self, buildpack: Option<&std::path::Path>) -> View {
        let tools = self.tools_directory();
        let toolchains = &self.gathered.config.builds.toolchains;
        let tree = self.workshop();
        let tools = Tools { tree: &tree, exe: &self.context.exe, tools: tools.as_deref(), toolchains, buildpack };
        view::build_view(&self.order.project.name, &self.places, self.order.number, &tools)
    }

    fn user_of(&self, who: Who) -> UserIds {
        match who {
            Who::BuildUser => self.order.project.build_user,
            Who::AppUser => self.order.project.app_user,
        }
    }

    /// Runs a script to its end, its lines going to the log as they come.
    async fn run_script(&self, script: Script) -> Result<Ran, Failure> {
        let mut no_space = false;
        let mut on_line = |_, raw: &[u8]| no_space |= self.tell_script_line(raw);
        let (exit, seconds) = self.run_watched(script, &mut on_line).await?;
        Ok(Ran { exit, seconds, no_space })
    }

    /// Runs a script whose standard output is an answer; only its complaints go to the log.
    async fn run_quietly(&self, script: Script, answer: &mut Vec<u8>) -> Result<Ran, Failure> {
        let mut no_space = false;
        let mut on_line = |stream, raw: &[u8]| {
            if stream == Stream::Out {
                if answer.len() < ANSWER_MAX {
                    answer.extend_from_slice(raw);
                    answer.push(b'\n');
                }
                return;
            }
            no_space |= self.tell_script_line(raw);
        };
        let (exit, seconds) = self.run_watched(script, &mut on_line).await?;
        Ok(Ran { exit, seconds, no_space })
    }

    /// Passes a line on, cleaned and without secrets; whether it tells of a full disk.
    fn tell_script_line(&self, raw: &[u8]) -> bool {
        let line = self.redactor.redact(&clean_line(raw));
        self.log.line(&words::script_line(&line));
        ended::tells_of_no_space(&line)
    }

    /// Runs a script, and says so when it is silent for long.
    async fn run_watched(&self, script: Script, on_line: LineSink<'_>) -> Result<(Exit, f64), Failure> {
        let group =
            format!("{}.{}.{}", self.order.project.name, self.order.number.0, script.title.replace([' ', '_'], "-"));
        let task = Task { name: group, job: script.job, group: self.build_limits(), deadline: Some(script.deadline) };
        let began = Instant::now();
        let last_heard = AtomicU64::new(0);
        let silence = self.gathered.config.builds.silence.as_secs().max(1);
        let mut listen = |stream, raw: &[u8]| {
            last_heard.store(began.elapsed().as_secs(), Ordering::Relaxed);
            on_line(stream, raw);
        };
        // What is undone is not cancelled.
        let never = Cancel::default();
        let cancel = if self.work.data.undoing.is_some() { &never } else { self.control.token() };
        let run = self.context.sandbox.run(task, &mut listen, cancel);
        tokio::pin!(run);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let exit = loop {
            tokio::select! {
                exit = &mut run => break exit,
                _ = tick.tick() => {
                    let now = began.elapsed().as_secs();
                    if now.saturating_sub(last_heard.load(Ordering::Relaxed)) >= silence {
                        last_heard.store(now, Ordering::Relaxed);
                        self.log.line(&words::still_at_it(&format!("at {}", script.title), now));
                    }
                }
            }
        };
        match exit {
            Exit::Cancelled => Err(super::cancelled()),
            exit => Ok((exit, began.elapsed().as_secs_f64())),
        }
    }

    fn build_limits(&self) -> GroupLimits {
        let config = &self.gathered.config.builds;
        let asked = self.settings.build.memory;
        GroupLimits {
            memory: Some(asked.map_or(config.memory, |asked| asked.min(config.memory))),
            pids: Some(config.pids.into()),
            cpus: config.cpus.map(f64::from),
        }
    }

    /// Takes the common tree as the last script left it.
    fn read_common(&mut self, hook: Hook) -> Result<(), Failure> {
        let path = self.places.common_dir(self.order.number).join(COMMON_FILE);
        let bad = |why: String| {
            Failure::new(Code::BadConfig, format!("hook {}: what it left in COMMIS_COMMON: {why}", hook.name()))
                .hint("write one JSON object, or leave the file as it is")
        };
        let bytes = crate::system::reading::read_regular(&path, COMMON_MAX).map_err(|error| bad(error.to_string()))?;
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        if !value.is_object() {
            return Err(bad("not an object".into()));
        }
        self.work.common = value;
        Ok(())
    }
}

/// `Python`, for the line that says what was found.
fn title_of(choice: &Choice) -> String {
    let mut letters = choice.pack.name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
