//! Health checks against small servers and sets that are made up.

use super::*;
use crate::model::{ProcessType, ReleaseVersion, Time};
use crate::runtime::status::{Condition, InstanceStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn check(kind: HealthKind) -> HealthCheck {
    let (timeout, interval) = (Duration::from_millis(600), Duration::from_millis(50));
    HealthCheck { kind, timeout, interval, successes: 1 }
}

fn http(port: u16) -> HealthCheck {
    check(HealthKind::Http { port, path: "/healthz".into(), host: "blog.test".into() })
}

fn set(last_exit: Option<Exit>) -> watch::Sender<SetStatus> {
    let process = ProcessName { kind: ProcessType::web(), index: 1 };
    let condition = if last_exit.is_some() { Condition::Exited } else { Condition::Running };
    let release = ReleaseVersion(1);
    let (pid, restarts, port, since, started, kept) = (None, 0, None, Time(0), Time(0), false);
    let one = InstanceStatus { process, release, condition, pid, restarts, last_exit, port, since, started, kept };
    watch::channel(SetStatus { instances: vec![one] }).0
}

async fn checked(check: HealthCheck, listening: Vec<u16>) -> Result<Healthy, Unhealthy> {
    let running = set(None);
    wait_healthy(&check, running.subscribe(), || async { listening }).await
}

/// Answers the n-th request with the n-th status, and the last one for ever.
async fn answering(statuses: &'static [u16]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0u8; 1000];
            let size = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..size]).to_lowercase();
            assert!(head.starts_with("get /healthz http/1.1\r\n") && head.contains("host: blog.test\r\n"), "{head}");
            let number = count.fetch_add(1, Ordering::Relaxed).min(statuses.len() - 1);
            let answer = format!("HTTP/1.1 {} x\r\nContent-Length: 0\r\n\r\n", statuses[number]);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    port
}

async fn unused() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn a_good_answer_is_healthy_at_the_first_attempt() {
    for status in [200, 204, 302, 399] {
        let port = answering(Box::leak(Box::new([status]))).await;
        let healthy = checked(http(port), vec![]).await.unwrap();
        assert_eq!((healthy.attempts, healthy.status), (1, Some(status)));
    }
}

#[tokio::test]
async fn an_application_may_take_its_time_to_become_well() {
    let healthy = checked(http(answering(&[503, 500, 404, 200]).await), vec![]).await.unwrap();
    assert_eq!(healthy.attempts, 4);
    let mut twice = http(answering(&[200, 503, 200, 200]).await);
    twice.successes = 2;
    assert_eq!(checked(twice, vec![]).await.unwrap().attempts, 4);
}

#[tokio::test]
async fn a_bad_answer_is_told_as_it_was() {
    let Err(Unhealthy::NoAnswer { last, attempts }) = checked(http(answering(&[503]).await), vec![]).await else {
        panic!("healthy")
    };
    assert!(last == "GET /healthz 503" && attempts > 1, "{last} {attempts}");
    let nobody = checked(http(unused().await), vec![]).await;
    assert!(matches!(nobody, Err(Unhealthy::NoAnswer { last, .. }) if last == "connection refused"));
}

#[tokio::test]
async fn listening_elsewhere_is_told_as_the_wrong_port() {
    let wanted = unused().await;
    let wrong = checked(check(HealthKind::Port { port: wanted }), vec![8000]).await;
    assert_eq!(wrong, Err(Unhealthy::WrongPort { wanted, listening: vec![8000] }));
}

#[tokio::test]
async fn a_port_that_accepts_is_enough_when_only_the_port_is_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(checked(check(HealthKind::Port { port }), vec![]).await.unwrap().status, None);
}

#[tokio::test]
async fn an_exit_ends_the_wait_at_once() {
    let exit = Exit::Code(3);
    let mut patient = http(unused().await);
    patient.timeout = Duration::from_secs(3600);
    let set_ = set(None);
    let receiver = set_.subscribe();
    let waiting = tokio::spawn(async move { wait_healthy(&patient, receiver, || async { vec![] }).await });
    set_.send_modify(|status| status.instances[0].last_exit = Some(Exit::Code(3)));
    let Err(Unhealthy::Exited { process, exit: seen }) = waiting.await.unwrap() else { panic!("healthy") };
    assert_eq!((process.to_string().as_str(), seen), ("web.1", exit));
}

#[tokio::test]
async fn without_a_web_process_living_on_is_healthy_and_ending_is_not() {
    let alive = check(HealthKind::Alive { time: Duration::from_millis(50) });
    assert!(checked(alive.clone(), vec![]).await.is_ok());
    let ended = set(Some(Exit::Signal(9)));
    let result = wait_healthy(&alive, ended.subscribe(), || async { vec![] }).await;
    assert!(matches!(result, Err(Unhealthy::Exited { .. })), "{result:?}");
}
