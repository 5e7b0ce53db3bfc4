//! A bad sample for every rule: a check that cannot see one has gone blind, and its silence means nothing.

use super::checks::{self, Complaint};
use super::source::Source;
use super::{BANNED_NAMES, EDGES};

#[test]
fn a_room_that_reaches_up_is_seen_however_it_is_written() {
    for bad in [
        "use crate::operations::Platform;",
        "use crate::{model::Time, operations};",
        "fn f() { crate::operations::run() }",
        "use super::operations;",
    ] {
        assert_eq!(edges("src/git/mod.rs", bad).len(), 1, "{bad}");
    }
    assert_eq!(edges("src/git/receive.rs", "use super::super::operations::run;").len(), 1);
    assert_eq!(edges("src/newroom/mod.rs", "").len(), 1, "a room nobody put in the table");
}

#[test]
fn a_room_that_keeps_to_its_edges_is_left_alone() {
    for good in [
        "use crate::model::{Failure, Time};",
        "use super::operations_of_git::x;",
        "// use crate::operations;\nconst A: &str = \"crate::operations\";",
        "#[cfg(test)]\nmod tests {\n    use crate::operations;\n}",
        "use crate::git::tree;",
    ] {
        assert_eq!(edges("src/git/receive.rs", good), [], "{good}");
    }
}

#[test]
fn a_file_without_a_head_is_seen() {
    assert_eq!(checks::head(&Source::new("src/git/mod.rs", "use std::fs;\n")).len(), 1);
    assert_eq!(checks::head(&Source::new("src/git/mod.rs", "//! x\n")).len(), 1, "one letter is no head");
    assert_eq!(checks::head(&Source::new("src/git/mod.rs", "//! Repositories and packs.\n")), []);
}

#[test]
fn a_deciding_file_that_touches_the_world_is_seen() {
    for bad in [
        "use tokio::time::sleep;",
        "use std::{collections::BTreeMap, fs};",
        "fn f() { std::process::exit(1) }",
        "use std::net::{IpAddr, TcpStream};",
        "use crate::system::files;",
        "fn f(now: Instant) {}",
        "use std::time::SystemTime;",
    ] {
        assert!(!purity(bad).is_empty(), "{bad}");
    }
    for good in [
        "use std::net::{IpAddr, SocketAddr};",
        "use crate::system::{Job, UserIds};\nuse crate::system::job::Bind;",
        "use std::collections::BTreeMap;\nfn f(now: Time) {}",
        "struct InstantNoodles;",
        "#[cfg(test)]\nmod tests {\n    use std::fs;\n}",
    ] {
        assert_eq!(purity(good), [], "{good}");
    }
}

#[test]
fn a_name_that_says_nothing_is_seen() {
    for bad in ["src/utils.rs", "src/git/helpers/mod.rs", "tests/it/common/mod.rs"] {
        assert_eq!(checks::banned_name(bad, BANNED_NAMES).len(), 1, "{bad}");
    }
    assert_eq!(checks::banned_name("src/git/database.rs", BANNED_NAMES), []);
}

#[test]
fn what_grew_too_large_is_seen() {
    assert_eq!(checks::file_size("src/a.rs", &"x\n".repeat(checks::FILE_LINES + 1)).len(), 1);
    assert_eq!(checks::file_size("src/a.rs", &"x\n".repeat(checks::FILE_LINES)), []);
    let long = format!("fn long() {{\n{}}}\nfn next() {{}}\n", "    x();\n".repeat(40));
    assert_eq!(functions(&long).len(), 1);
    assert_eq!(functions(&format!("fn fits() {{\n{}}}\n", "    x();\n".repeat(38))), []);
    let wide = "fn wide<F: Fn(u8, u8) -> u8>(a: F, b: (u8, u8), c: Map<u8, u8>, d: u8, e: u8, f: u8) {}";
    assert_eq!(functions(wide).len(), 1);
    let fits = "impl X {\n    fn five(&mut self, a: Map<u8, u8>, b: [u8; 2], c: fn(u8, u8) -> u8, d: u8, e: u8) {}\n}";
    assert_eq!(functions(fits), []);
    let ours = "impl X {\n    fn wide(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8) {}\n}\n";
    assert_eq!(functions(&format!("impl Y for X {{\n    fn fits() {{}}\n}}\n{ours}")).len(), 1);
    assert_eq!(functions(&ours.replace("impl X", "impl Y for X")), [], "the trait has decided");
}

#[test]
fn a_panic_outside_tests_is_seen() {
    for bad in ["fn f() { x.unwrap() }", "fn f() { x.expect(\"never\") }", "fn f() { todo!() }"] {
        assert_eq!(checks::panics(&Source::new("src/a.rs", bad)).len(), 1, "{bad}");
    }
    for good in
        ["#[cfg(test)]\nmod tests {\n    fn f() { x.unwrap() }\n}", "// x.unwrap()", "fn f() { p.expect(b':')? }"]
    {
        assert_eq!(checks::panics(&Source::new("src/a.rs", good)), [], "{good}");
    }
    assert_eq!(checks::panics(&Source::new("src/a/tests.rs", "fn f() { x.unwrap() }")), []);
}

#[test]
fn a_shell_is_seen() {
    for bad in
        ["run([\"bash\", \"-c\", line])", "run(\"sh -c true\")", "let argv = [\n    \"/bin/sh\",\n    \"-c\",\n];"]
    {
        assert_eq!(checks::shells(&Source::new("src/a.rs", bad)).len(), 1, "{bad}");
    }
    assert_eq!(checks::shells(&Source::new("src/a.rs", "git([\"-c\", \"safe.directory=*\"])")), []);
}

#[test]
fn a_place_or_a_registry_of_one_machine_is_seen() {
    let place = format!("root = \"{}here\"", concat!("/wo", "rk/"));
    assert_eq!(checks::machine_paths("a.toml", &place).len(), 1);
    assert_eq!(checks::machine_paths("a.toml", concat!("$root/wo", "rk/here")), []);
    let lock = "\"resolved\": \"https://mirror.internal.example/express.tgz\"";
    assert_eq!(checks::registries("apps/package-lock.json", lock).len(), 1);
    assert_eq!(checks::registries("apps/package-lock.json", "\"version\": \"4.21.2\""), []);
}

#[test]
fn a_forgotten_file_of_tests_is_seen() {
    let names = ["main".to_string(), "tidy".to_string(), "pushing".to_string()];
    assert_eq!(checks::forgotten_tests(&names, "mod tidy;\n").len(), 1);
    assert_eq!(checks::forgotten_tests(&names, "mod pushing;\nmod tidy;\n"), []);
}

fn edges(path: &str, text: &str) -> Vec<Complaint> {
    checks::edges(&Source::new(path, text), EDGES)
}

fn purity(text: &str) -> Vec<Complaint> {
    checks::purity(&Source::new("src/pipeline/plan.rs", text))
}

fn functions(text: &str) -> Vec<Complaint> {
    checks::function_size(&Source::new("src/a.rs", text))
}
