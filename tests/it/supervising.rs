//! Sets of real processes: started, seen, kept, stopped. Needs root. How one process is put in its place is
//! `sandboxing.rs`'s.

use crate::bench::{Bench, lives, until};
use commis::model::{Exit, ProcessName, ProcessType, ProjectName, ReleaseVersion};
use commis::runtime::{
    Condition, HealthCheck, HealthKind, InstanceSpec, RestartPolicy, Restarts, SetId, Supervisor, Unhealthy, follow,
    health::wait_healthy, ports::free_port,
};
use commis::system::GroupLimits;
use std::time::Duration;

/// Says its port and everything a browser asks; needs no build.
const SERVER: &str = "exec python3 -u -m http.server $PORT --bind 127.0.0.1 --directory /usr/share/doc";

struct World {
    bench: Bench,
    supervisor: Supervisor,
    blog: ProjectName,
}

impl World {
    fn new() -> Self {
        let bench = Bench::new();
        let (delay, delay_max) = (Duration::from_millis(20), Duration::from_millis(100));
        let (stop_grace, keep_crashed) = (Duration::from_millis(500), Duration::from_secs(60));
        let policy = RestartPolicy { delay, delay_max, stop_grace, keep_crashed };
        let supervisor = Supervisor::new(&bench.sandbox, policy, bench.instances());
        Self { bench, supervisor, blog: ProjectName::parse("blog").unwrap() }
    }

    fn spec(&self, kind: &str, script: &str) -> InstanceSpec {
        let port = free_port().unwrap();
        let mut job = self.bench.job(&["bash", "-c", script]);
        job.env.push(("PORT".into(), port.to_string()));
        InstanceSpec {
            process: ProcessName { kind: ProcessType::parse(kind).unwrap(), index: 1 },
            port: Some(port),
            job,
            group: GroupLimits::default(),
            log: self.log(),
        }
    }

    fn log(&self) -> std::path::PathBuf {
        self.bench.directory.path().join("logs/blog/app.log")
    }

    async fn start(&self, scripts: &[(&str, &str)], restarts: Restarts) -> SetId {
        let specs = scripts.iter().map(|(kind, script)| self.spec(kind, script)).collect();
        self.supervisor.start_set((&self.blog, ReleaseVersion(1)), specs, restarts).await
    }

    async fn health(&self, set: SetId) -> Result<u32, Unhealthy> {
        let port = self.supervisor.status(&self.blog).last().and_then(|one| one.port).unwrap();
        let check = HealthCheck {
            kind: HealthKind::Http { port, path: "/".into(), host: "blog.test".into() },
            timeout: Duration::from_secs(4),
            interval: Duration::from_millis(200),
            successes: 1,
        };
        let listening =
            || async { self.supervisor.listening_ports(set).await.into_iter().flat_map(|one| one.1).collect() };
        wait_healthy(&check, self.supervisor.events(set), listening).await.map(|healthy| healthy.attempts)
    }
}

#[tokio::test]
async fn a_web_process_is_started_checked_logged_and_stopped() {
    let world = World::new();
    let set = world.start(&[("web", SERVER)], Restarts::Never).await;
    let status = world.supervisor.status(&world.blog);
    assert!(status[0].condition == Condition::Running && status[0].pid.is_some(), "{status:?}");
    world.health(set).await.unwrap();
    let port = status[0].port.unwrap();
    assert_eq!(world.supervisor.listening_ports(set).await[0].1, [port]);
    world.supervisor.keep_running(set);
    world.supervisor.stop_set(set).await;
    assert!(world.supervisor.status(&world.blog).is_empty());
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    let lines = follow::tail(&world.log(), 10).unwrap();
    assert!(lines[0].contains("Z web.1 | Serving HTTP on 127.0.0.1"), "{lines:?}");
    assert!(lines.last().unwrap().ends_with("web.1 | commis: killed by signal 15 (SIGTERM)"), "{lines:?}");
}

#[tokio::test]
async fn a_process_that_ends_on_probation_is_told_with_its_last_words_and_not_started_again() {
    let world = World::new();
    let set = world.start(&[("web", "echo started; echo 'KeyError: x' >&2; exit 3")], Restarts::Never).await;
    let Err(Unhealthy::Exited { process, exit }) = world.health(set).await else { panic!("healthy") };
    assert_eq!((process.to_string().as_str(), exit), ("web.1", Exit::Code(3)));
    let mut recent = world.supervisor.recent_output(set, 5).await;
    recent.sort();
    assert_eq!(recent, ["web.1 | KeyError: x", "web.1 | started"]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let status = &world.supervisor.status(&world.blog)[0];
    assert_eq!((status.condition, status.restarts), (Condition::Exited, 0));
    world.supervisor.stop_set(set).await;
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_told_so() {
    let world = World::new();
    let mut spec = world.spec("web", "");
    spec.job.argv = vec!["no-such-program".into()];
    let set = world.supervisor.start_set((&world.blog, ReleaseVersion(1)), vec![spec], Restarts::Never).await;
    let status = &world.supervisor.status(&world.blog)[0];
    assert_eq!(status.condition, Condition::Exited);
    assert!(matches!(&status.last_exit, Some(Exit::NotStarted(why)) if why.contains("no-such-program")), "{status:?}");
    world.supervisor.stop_set(set).await;
}

#[tokio::test]
async fn what_is_kept_is_started_again_also_when_it_ended_before() {
    let world = World::new();
    let count = "date >> ../run/starts; sleep 0.05; exit 1";
    let set = world.start(&[("worker", count)], Restarts::Never).await;
    let starts = || {
        let text = std::fs::read_to_string(world.bench.root().join("build/starts")).unwrap_or_default();
        text.lines().count()
    };
    let ended = |one: &commis::runtime::SetStatus| one.instances[0].condition == Condition::Exited;
    world.supervisor.events(set).wait_for(ended).await.unwrap();
    assert_eq!(starts(), 1);
    world.supervisor.keep_running(set);
    until(|| starts() >= 4).await;
    let status = &world.supervisor.status(&world.blog)[0];
    assert!(status.restarts >= 2 && status.last_exit == Some(Exit::Code(1)), "{status:?}");
    world.supervisor.stop_set(set).await;
    let after = starts();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(starts(), after);
}

#[tokio::test]
async fn the_wrong_port_is_named() {
    let world = World::new();
    let other = free_port().unwrap();
    let script = SERVER.replace("$PORT", &other.to_string());
    let set = world.start(&[("web", &script)], Restarts::Never).await;
    let wanted = world.supervisor.status(&world.blog)[0].port.unwrap();
    assert_eq!(world.health(set).await, Err(Unhealthy::WrongPort { wanted, listening: vec![other] }));
    world.supervisor.stop_set(set).await;
}

#[tokio::test]
async fn who_ignores_the_request_to_stop_is_killed_with_all_its_children() {
    let world = World::new();
    let stubborn = "trap '' TERM; setsid sleep 87654 & setsid sleep 87654 & echo up; while :; do sleep 1; done";
    let set = world.start(&[("web", stubborn), ("worker", "exec sleep 87654")], Restarts::BackOff).await;
    while world.supervisor.recent_output(set, 1).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    until(|| lives("87654")).await;
    world.supervisor.stop_set(set).await;
    assert!(!lives("87654"));
}

#[tokio::test]
async fn nothing_outlives_a_supervisor_that_is_told_to_stop_everything() {
    let world = World::new();
    for _ in 0..3 {
        world.start(&[("web", SERVER), ("worker", "exec sleep 76543")], Restarts::BackOff).await;
    }
    assert_eq!(world.supervisor.status(&world.blog).len(), 6);
    world.supervisor.stop_all().await;
    assert!(world.supervisor.status(&world.blog).is_empty() && !lives("76543"));
}

#[tokio::test]
async fn what_the_terminal_would_obey_is_written_out_in_the_log() {
    let world = World::new();
    let set = world.start(&[("web", r"printf '\033[2J\a\n'; exec sleep 65432")], Restarts::Never).await;
    let mut lines = follow::follow(world.log(), 10);
    let line = lines.recv().await.unwrap();
    assert!(line.ends_with(r"web.1 | \x1b[2J\x07"), "{line}");
    world.supervisor.stop_set(set).await;
}
