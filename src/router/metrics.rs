//! What a router counted, as Prometheus reads it. Pure: numbers in, text out.

use super::account::{BUCKETS, Totals};
use super::board::InstanceLoad;
use std::fmt::Write;

/// Everything that is shown, at one moment.
#[derive(Default)]
pub struct Figures {
    /// By project; the empty name is that of hosts that nobody has.
    pub projects: Vec<(String, Totals)>,
    pub instances: Vec<InstanceLoad>,
    /// Requests that wait for an instance, by project.
    pub held: Vec<(String, usize)>,
    /// By host: when its certificate is over, in seconds since 1970.
    pub certificates: Vec<(String, i64)>,
    pub connections: i64,
    pub lines_dropped: u64,
}

/// The text format, version 0.0.4.
pub fn text(figures: &Figures) -> String {
    let mut to = String::new();
    requests(&mut to, &figures.projects);
    durations(&mut to, &figures.projects);
    title(&mut to, "commis_http_in_flight", "gauge", "Requests under way, by project.");
    for (project, totals) in &figures.projects {
        let _ = writeln!(to, "commis_http_in_flight{{project=\"{project}\"}} {}", totals.in_flight);
    }
    title(&mut to, "commis_http_held", "gauge", "Requests that wait until an instance takes connections.");
    for (project, held) in &figures.held {
        let _ = writeln!(to, "commis_http_held{{project=\"{project}\"}} {held}");
    }
    instances(&mut to, &figures.instances);
    title(&mut to, "commis_cert_expiry_timestamp_seconds", "gauge", "When the certificate of a host is over.");
    for (host, expires) in &figures.certificates {
        let _ = writeln!(to, "commis_cert_expiry_timestamp_seconds{{host=\"{host}\"}} {expires}");
    }
    title(&mut to, "commis_http_connections", "gauge", "Open connections of clients.");
    let _ = writeln!(to, "commis_http_connections {}", figures.connections);
    title(
        &mut to,
        "commis_http_log_lines_dropped_total",
        "counter",
        "Lines of the access log that the disk was too slow for.",
    );
    let _ = writeln!(to, "commis_http_log_lines_dropped_total {}", figures.lines_dropped);
    to
}

fn title(to: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(to, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn requests(to: &mut String, projects: &[(String, Totals)]) {
    title(to, "commis_http_requests_total", "counter", "Answered requests, by project and class of the status.");
    for (project, totals) in projects {
        for (class, count) in totals.classes.iter().enumerate().skip(1) {
            let _ = writeln!(to, "commis_http_requests_total{{project=\"{project}\",code=\"{class}xx\"}} {count}");
        }
    }
}

fn durations(to: &mut String, projects: &[(String, Totals)]) {
    const NAME: &str = "commis_http_request_duration_seconds";
    title(to, NAME, "histogram", "From the head of the request to the last byte of the answer.");
    for (project, totals) in projects {
        for (end, count) in BUCKETS.iter().zip(totals.buckets) {
            let _ = writeln!(to, "{NAME}_bucket{{project=\"{project}\",le=\"{end}\"}} {count}");
        }
        let count: u64 = totals.classes.iter().sum();
        let _ = writeln!(to, "{NAME}_bucket{{project=\"{project}\",le=\"+Inf\"}} {count}");
        let _ = writeln!(to, "{NAME}_sum{{project=\"{project}\"}} {}", totals.seconds);
        let _ = writeln!(to, "{NAME}_count{{project=\"{project}\"}} {count}");
    }
}

fn instances(to: &mut String, instances: &[InstanceLoad]) {
    let mut gauge = |name: &str, help: &str, value: fn(&InstanceLoad) -> usize| {
        title(to, name, "gauge", help);
        for instance in instances {
            let (project, process) = (&instance.project, &instance.address.name);
            let port = instance.address.port;
            let labels = format!("project=\"{project}\",instance=\"{process}\",port=\"{port}\"");
            let _ = writeln!(to, "{name}{{{labels}}} {}", value(instance));
        }
    };
    gauge("commis_instance_requests", "Requests under way at an instance.", |one| one.load.requests);
    gauge("commis_instance_tunnels", "WebSockets open to an instance.", |one| one.load.tunnels);
    gauge("commis_instance_out", "1: left out, because it refused or broke a connection.", |one| one.is_out.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_every_family_once_and_buckets_that_add_up() {
        let totals = Totals {
            classes: [0, 0, 7, 0, 0, 1],
            buckets: [3, 5, 5, 5, 5, 5, 8, 8, 8, 8, 8],
            seconds: 1.5,
            in_flight: 2,
        };
        let text = text(&Figures { projects: vec![("blog".into(), totals)], ..Figures::default() });
        assert!(text.contains("commis_http_requests_total{project=\"blog\",code=\"2xx\"} 7\n"), "{text}");
        assert!(text.contains("_bucket{project=\"blog\",le=\"0.5\"} 8\n"), "{text}");
        assert!(
            text.contains("_bucket{project=\"blog\",le=\"+Inf\"} 8\n") && text.contains("_count{project=\"blog\"} 8\n")
        );
        assert!(
            text.contains("_sum{project=\"blog\"} 1.5\n")
                && text.contains("commis_http_in_flight{project=\"blog\"} 2\n")
        );
        for line in text.lines().filter(|line| line.starts_with("# TYPE")) {
            assert_eq!(text.matches(line).count(), 1, "{line}");
        }
    }
}
