//! Scripts of the project: hooks, buildpacks, the `release:` line. Each runs as a job in its view and its cgroup.

use super::{Done, Execution, missing};
use crate::buildpacks;
use crate::hooks::{self, Hook, HookContext, Who};
use crate::layouts::places::COMMON_FILE;
use crate::model::{Because, Code, Exit, Failure, Phase};
use crate::notify::words::{self, Stage};
use crate::notify::clean_line;
use crate::pipeline::launch;
use crate::pipeline::view::{self, Tools};
use crate::sandbox::Task;
use crate::system::cgroups::GroupLimits;
use crate::system::{Job, Limits, UserIds, View};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Lines of a script that a failure repeats.
const LAST_LINES: usize = 10;
/// A common tree larger than this is refused.
const COMMON_MAX: u64 = 1 << 20;

/// A script, ready to run.
struct Script {
    /// For sentences and cgroups: `hook build`, `buildpack python`.
    title: String,
    job: Job,
    deadline: Duration,
}

/// What became of it.
pub(super) struct Ran {
    pub exit: Exit,
    pub seconds: f64,
    pub last_lines: Vec<String>,
}

impl Execution<'_> {
    pub(super) async fn run_hook(&mut self, phase: Phase, hook: Hook) -> Result<Done, Failure> {
        if hook.runs_as() == Who::BuildUser {
            self.open_stage(Stage::Build, "hooks");
        }
        let user = self.user_of(hook.runs_as());
        self.write_common(user)?;
        let path = format!(".commis/hooks/{}", hook.name());
        let job = self.hook_job(phase, hook, user, &path);
        let script = Script { title: format!("hook {}", hook.name()), job, deadline: self.gathered.config.hooks.timeout };
        self.tell_detail(&format!("hook {}", hook.name()));
        let ran = self.run_script(script).await?;
        if !ran.exit.is_success() {
            return Err(hooks::failure(hook, &ran.exit, ran.seconds, &ran.last_lines));
        }
        self.read_common()?;
        Ok(Done::Did(ran.exit.to_string()))
    }

    pub(super) async fn compile(&mut self) -> Result<Done, Failure> {
        let source = self.gathered.source.as_ref().ok_or_else(|| missing("a commit"))?;
        let choice = source.choice.as_ref().ok_or_else(|| missing("a buildpack"))?;
        self.open_stage(Stage::Build, &format!("{} found: {}", choice.pack.title(), choice.why));
        if choice.pack.needs_no_build() {
            return Ok(Done::Skipped(Because::NothingDeclared));
        }
        let directory = self.context.places.buildpacks().join(choice.pack.name());
        let call = buildpacks::compile_call(&choice.pack, &buildpacks::CallPlaces {
            build: self.places.run(),
            cache: self.places.cache(),
            env: self.places.view_env(),
            buildpack: self.places.view_buildpack(),
        });
        let mut env = self.script_environment(Phase::Build, UserIds::of(0));
        env.extend(call.env);
        let job = Job {
            argv: call.argv,
            env,
            directory: self.places.run(),
            user: self.order.project.build_user,
            view: self.build_view(Some(&directory)),
            limits: Limits::default(),
            cgroups: Vec::new(),
        };
        let deadline = self.gathered.settings.build.timeout.unwrap_or(self.gathered.config.builds.timeout);
        let title = format!("buildpack {}", choice.pack.name());
        let ran = self.run_script(Script { title: title.clone(), job, deadline }).await?;
        if ran.exit.is_success() {
            return Ok(Done::Did(format!("{}: {}", choice.pack.name(), choice.why)));
        }
        Err(script_failure(Code::BuildFailed, &title, &ran))
    }

    pub(super) async fn release_command(&mut self) -> Result<Done, Failure> {
        let manifest = self.work.manifest.as_ref().ok_or_else(|| missing("a manifest"))?;
        let Some(command) = manifest.processes.get("release").cloned() else {
            return Ok(Done::Skipped(Because::NothingDeclared));
        };
        let name = &self.order.project.name;
        let running = self.running()?;
        let job = Job {
            argv: launch::argv(&command, running.profile()),
            env: running.environment_of("release.1", None),
            directory: self.places.run(),
            user: self.order.project.app_user,
            view: view::app_view(name, &self.places, &self.work.tree, &self.context.exe),
            limits: Limits::default(),
            cgroups: Vec::new(),
        };
        self.tell_detail("release command");
        let script = Script { title: "release command".into(), job, deadline: self.gathered.config.hooks.timeout };
        let ran = self.run_script(script).await?;
        if ran.exit.is_success() {
            return Ok(Done::Did(ran.exit.to_string()));
        }
        Err(script_failure(Code::ReleaseFailed, "release command", &ran))
    }

    fn hook_job(&self, phase: Phase, hook: Hook, user: UserIds, path: &str) -> Job {
        let name = &self.order.project.name;
        let view = match hook.runs_as() {
            Who::BuildUser => self.build_view(None),
            Who::AppUser => {
                let tree = self.live_tree();
                view::deploy_view(name, &self.places, self.order.number, &tree, &self.context.exe)
            }
        };
        Job {
            argv: vec![self.places.run().join(path).display().to_string()],
            env: self.script_environment(phase, user),
            directory: self.places.run(),
            user,
            view,
            limits: Limits::default(),
            cgroups: Vec::new(),
        }
    }

    fn build_view(&self, buildpack: Option<&std::path::Path>) -> View {
        let tools = self.tools_directory();
        let tools = Tools { exe: &self.context.exe, tools: tools.as_deref(), buildpack };
        view::build_view(&self.order.project.name, &self.places, self.order.number, &tools)
    }

    fn tools_directory(&self) -> Option<std::path::PathBuf> {
        let configured = &self.gathered.config.builds.tools;
        let path = configured.clone().unwrap_or_else(|| self.context.places.tools());
        path.is_dir().then_some(path)
    }

    fn user_of(&self, who: Who) -> UserIds {
        match who {
            Who::BuildUser => self.order.project.build_user,
            Who::AppUser => self.order.project.app_user,
        }
    }

    /// The variables of hooks and buildpacks; `user` decides whose home it is.
    fn script_environment(&self, phase: Phase, user: UserIds) -> Vec<(String, String)> {
        let is_app = user == self.order.project.app_user;
        let home = if is_app { self.places.run() } else { self.places.cache().join("home") };
        let pillar = if is_app { self.gathered.environment.clone() } else { self.build_environment() };
        let mut env = hooks::environment(&HookContext {
            project: self.order.project.name.as_str(),
            mode: self.gathered.mode,
            phase,
            deployment: self.order.number,
            release: self.work.version,
            run: self.places.run(),
            data: self.places.data(),
            common: self.places.view_common().join(COMMON_FILE),
            home,
            path: format!("{}:{}", view::search_path(&self.places), self.places.view_tools().display()),
            pillar,
        });
        if !is_app {
            env.extend(self.gathered.config.builds.env.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        env.push(("SOURCE_VERSION".into(), self.commit_text()));
        env
    }

    /// The pillar's variables that builds may see.
    pub(super) fn build_environment(&self) -> Vec<(String, String)> {
        let allowed = |name: &str| self.gathered.settings.build.allows(name);
        self.gathered.environment.iter().filter(|(name, _)| allowed(name)).cloned().collect()
    }

    /// Runs a script to its end, its lines going to the log as they come.
    async fn run_script(&self, script: Script) -> Result<Ran, Failure> {
        let config = &self.gathered.config.builds;
        let limits = GroupLimits {
            memory: Some(self.gathered.settings.build.memory.unwrap_or(config.memory)),
            pids: Some(config.pids),
            cpus: config.cpus,
        };
        let group = format!("{}.{}.{}", self.order.project.name, self.order.number.0, script.title.replace([' ', '_'], "-"));
        let task = Task { name: group, job: script.job, group: limits, deadline: Some(script.deadline) };
        let began = Instant::now();
        let last_heard = Arc::new(AtomicU64::new(0));
        let mut last_lines = VecDeque::new();
        let heard = last_heard.clone();
        let mut on_line = |_, raw: &[u8]| {
            heard.store(began.elapsed().as_secs(), Ordering::Relaxed);
            let line = self.redactor.redact(&clean_line(raw));
            self.log.line(&words::script_line(&line));
            if !line.trim().is_empty() {
                last_lines.push_back(line);
            }
            if last_lines.len() > LAST_LINES {
                last_lines.pop_front();
            }
        };
        let exit = {
            let run = self.context.sandbox.run(task, &mut on_line, self.control.token());
            tokio::pin!(run);
            let mut tick = tokio::time::interval(Duration::from_secs(1));
            loop {
                tokio::select! {
                    exit = &mut run => break exit,
                    _ = tick.tick() => {
                        let now = began.elapsed().as_secs();
                        if now.saturating_sub(last_heard.load(Ordering::Relaxed)) >= config.silence.as_secs().max(1) {
                            last_heard.store(now, Ordering::Relaxed);
                            self.log.line(&words::still_at_it(&format!("at {}", script.title), now));
                        }
                    }
                }
            }
        };
        if exit == Exit::Cancelled {
            return Err(super::cancelled());
        }
        Ok(Ran { exit, seconds: began.elapsed().as_secs_f64(), last_lines: last_lines.into() })
    }

    /// Takes the common tree as the last script left it.
    fn read_common(&mut self) -> Result<(), Failure> {
        let path = self.places.common_dir(self.order.number).join(COMMON_FILE);
        let bad = |why: String| {
            Failure::new(Code::BadConfig, format!("COMMIS_COMMON after the hook: {why}"))
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

/// `buildpack python: exit 1 after 12 s`, with the last lines.
fn script_failure(code: Code, title: &str, ran: &Ran) -> Failure {
    let what = format!("{title}: {} after {}", ran.exit, words::duration(ran.seconds));
    let failure = Failure::new(code, what);
    match ran.exit {
        Exit::OutOfMemory { .. } => failure.hint("raise [builds] memory in commis.toml, or need less"),
        Exit::TimedOut { .. } => failure.hint("raise [builds] timeout in commis.toml, or [build] timeout in project.toml"),
        Exit::Code(_) | Exit::Signal(_) | Exit::Cancelled | Exit::NotStarted(_) => failure,
    }
}
