//! The long run: every experiment that was asked for, one after the other, each with a row for the table.

use super::ground::Kind;
use super::options::{Options, notice_the_end, stopped};
use super::scene::Mode;
use super::tally::{HEADS, Tally};
use super::walk::Fate;
use super::{full, kills, model, powercut, soak, syscalls, walk, weather};
use std::time::Duration;

type Run = Box<dyn Fn(&Options) -> Tally>;

/// Those for a server with points in it, or all others.
fn experiments(armed: bool) -> Vec<(&'static str, Run)> {
    let mut all: Vec<(&'static str, Run)> = Vec::new();
    if armed {
        all.push(("walk-cooking", Box::new(|options| walk::walks(options, Mode::Cooking))));
        all.push(("walk-editable", Box::new(|options| walk::walks(options, Mode::Editable))));
        all.push(("walk-final", Box::new(|options| walk::walks(options, Mode::Final))));
        for (name, fate) in [
            ("walk-power-ext4", Fate::LosesPower(Kind::Ext4)),
            ("walk-power-xfs", Fate::LosesPower(Kind::Xfs)),
            ("walk-full", Fate::HasNoRoom),
            ("walk-errors", Fate::LosesDisk(Kind::Ext4)),
        ] {
            all.push((name, Box::new(move |options| walk::everywhere(options, (name, fate)))));
        }
    } else {
        all.push(("kills", Box::new(|options| kills::kills(options, options.kills))));
        all.push(("powercuts-ext4", Box::new(|options| powercut::powercuts(options, (Kind::Ext4, options.powercuts)))));
        all.push(("powercuts-xfs", Box::new(|options| powercut::powercuts(options, (Kind::Xfs, options.powercuts)))));
        all.push(("syscalls", Box::new(syscalls::syscalls)));
        all.push(("errors", Box::new(syscalls::errors)));
        all.push(("full", Box::new(|options| full::full(options, options.full))));
        all.push(("reboot", Box::new(|options| weather::reboots(options, options.reboots))));
        all.push(("clocks", Box::new(|options| weather::clocks(options, options.clocks))));
        all.push(("model", Box::new(model::model)));
        all.push(("soak", Box::new(soak::soak)));
    }
    all
}

/// Asked for in COMMIS_FAULTS; see `bin/faults`.
#[test]
#[ignore = "long: bin/faults runs it"]
fn the_long_run() {
    let options = Options::parse(&std::env::var("COMMIS_FAULTS").unwrap_or_default()).unwrap();
    notice_the_end(Duration::from_secs(options.minutes * 60));
    let mut rows = Vec::new();
    let mut broken = Vec::new();
    let armed = std::env::var("COMMIS_FAULTS_KIND").is_ok_and(|kind| kind == "armed");
    for (name, run) in experiments(armed).iter().filter(|(name, _)| options.wants(name)) {
        if stopped() {
            break;
        }
        eprintln!("== {name}");
        let tally = run(&options);
        eprintln!("{}", tally.row());
        rows.push(tally.row());
        broken.extend(tally.broken());
    }
    if !rows.is_empty() {
        println!("{HEADS}\n{}", rows.join("\n"));
    }
    assert!(broken.is_empty(), "{} broken promises, see {}", broken.len(), options.evidence.display());
}
