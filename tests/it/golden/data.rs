//! Real answers about data and rescues, for the page of answers.

use super::pages::{deployment, process, value};
use commis::operations::records;
use serde_json::Value;

pub(super) fn samples() -> Vec<(&'static str, Value)> {
    let deployment = deployment();
    vec![
        ("Discarded", value(&deployment.discarded_writes)),
        ("Data", value(&deployment.data)),
        ("Backup", value(&backup())),
        ("Rescue", value(&rescue())),
        ("Put aside", value(&kept())),
        ("Choice", value(&choice())),
    ]
}

fn backup() -> records::Backup {
    records::Backup { deployment: 1, at: "t".into(), size: 1 }
}

fn rescue() -> records::Rescue {
    records::Rescue {
        project: "blog".into(),
        trouble: Some("t".into()),
        live: Some("v1".into()),
        run: Some("v1".into()),
        data: "d".into(),
        processes: vec![process()],
        backups: vec![backup()],
        failed: vec![kept()],
        choices: vec![choice()],
    }
}

fn kept() -> records::Kept {
    records::Kept { archive: "1.failed".into(), tree: true, data: true }
}

fn choice() -> records::Choice {
    records::Choice { command: "c".into(), what: "w".into() }
}
