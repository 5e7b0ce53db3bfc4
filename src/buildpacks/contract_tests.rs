//! Tests of [`super`]: calls, answers, and that what is known without a process is what the scripts say.

#![allow(clippy::disallowed_methods)]

use super::*;
use std::process::Command;

const PATHS: [&str; 4] =
    ["/var/lib/commis/buildpacks/rust", "/srv/projects/blog/run", "/srv/projects/blog/cache", "/e"];

fn paths() -> BuildPaths<'static> {
    let [pack, build, cache, env_dir] = PATHS.map(Path::new);
    BuildPaths { pack, build, cache, env_dir }
}

fn with_context<T>(platform: &[(&str, &str)], act: impl FnOnce(&BuildContext<'_>) -> T) -> T {
    let platform: Vec<(String, String)> = platform.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    act(&BuildContext {
        project: &ProjectName::parse("blog").unwrap(),
        mode: Mode::Cooking,
        deployment: DeploymentNumber(7),
        release: Some(ReleaseVersion(3)),
        commit: &CommitId::parse(&"a1".repeat(20)).unwrap(),
        certificates: Some(Path::new("/etc/ssl/ca.crt")),
        settings: &[("COMMIS_STATIC_ROOT".into(), "site".into())],
        platform: &platform,
    })
}

fn value<'a>(call: &'a Call, name: &str) -> Option<&'a str> {
    call.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

#[test]
fn the_scripts_are_called_as_the_classic_contract_says() {
    with_context(&[], |context| {
        let compile = compile_call(paths(), context);
        assert_eq!(compile.argv[0], "/var/lib/commis/buildpacks/rust/bin/compile");
        assert_eq!(compile.argv[1..], ["/srv/projects/blog/run", "/srv/projects/blog/cache", "/e"]);
        assert_eq!(compile.directory, Path::new("/srv/projects/blog/run"));
        assert_eq!(detect_call(paths(), context).argv.len(), 2);
        assert_eq!(release_call(paths(), context).argv[1..], ["/srv/projects/blog/run"]);
        for (name, wanted) in [
            ("HOME", "/srv/projects/blog/cache/home"),
            ("STACK", "heroku-24"),
            ("COMMIS_RELEASE", "v3"),
            ("COMMIS_STATIC_ROOT", "site"),
            ("NODE_EXTRA_CA_CERTS", "/etc/ssl/ca.crt"),
        ] {
            assert_eq!(value(&compile, name), Some(wanted), "{name}");
        }
    });
}

#[test]
fn the_servers_variables_win_and_gits_never_get_in() {
    with_context(&[("PATH", "/opt/rust/bin:/usr/bin"), ("GIT_DIR", "/x"), ("PIP_CERT", "/own.crt")], |context| {
        let call = compile_call(paths(), context);
        assert_eq!(value(&call, "PATH"), Some("/opt/rust/bin:/usr/bin"));
        assert_eq!(value(&call, "PIP_CERT"), Some("/own.crt"));
        assert_eq!(value(&call, "GIT_DIR"), None);
    });
}

#[test]
fn a_release_may_say_nothing_in_many_ways() {
    for nothing in
        ["", "\n", "---", "---\n", "--- {}\n", "---\n...\n", "--- ~\n", "addons: []\n", "default_process_types:\n"]
    {
        assert_eq!(parse_release(nothing).unwrap(), ReleaseInfo::default(), "{nothing:?}");
    }
}

#[test]
fn processes_and_variables_are_read() {
    let text = "---\naddons: [db]\ndefault_process_types:\n  web: ./app --port $PORT\nconfig_vars: {N: 4, DEBUG: true, A: b}\n";
    let info = parse_release(text).unwrap();
    assert_eq!(info.processes[&ProcessType::web()], "./app --port $PORT");
    let vars: Vec<String> = info.config_vars.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(vars, ["A=b", "DEBUG=true", "N=4"]);
}

#[test]
fn a_release_of_another_shape_is_refused_in_one_line() {
    for bad in [
        "web: [",
        "- web",
        "text",
        "default_process_types: [web]",
        "default_process_types: {'a b': x}",
        "default_process_types: {web: ''}",
        "default_process_types: {web: \"a\\nb\"}",
        "config_vars: {'A=B': x}",
        "default_process_types: {web: a, web: b}",
    ] {
        let failure = parse_release(bad).unwrap_err();
        assert_eq!(failure.code, Code::BuildFailed, "{bad}");
        assert!(failure.what.starts_with("bin/release of the buildpack: "), "{}", failure.what);
        assert!(!failure.what.contains('\n') && failure.what.len() > 35, "{}", failure.what);
    }
}

fn known(pack: &str, app: &Path, variables: &[&str]) -> Option<ReleaseInfo> {
    let exists = |path: &str| app.join(path).is_file();
    let tree = Tree { exists: &exists, executable: &exists };
    without_process(super::super::builtin().iter().find(|p| p.name == pack).unwrap(), tree, variables)
}

#[test]
fn what_is_known_without_a_process_is_what_the_scripts_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let there = tempfile::tempdir().unwrap();
    for (pack, file) in [
        ("static", "index.html"),
        ("static", "public/index.html"),
        ("static", "dist/index.html"),
        ("static", "_site/index.html"),
        ("static", ".static"),
        ("procfile", "Procfile"),
    ] {
        let app = there.path().join(file.replace('/', "-"));
        std::fs::create_dir_all(app.join(file).parent().unwrap()).unwrap();
        std::fs::write(app.join(file), "x").unwrap();
        let scripts = root.join("buildpacks").join(pack).join("bin");
        assert!(Command::new(scripts.join("compile")).args([&app, &app, &app]).output().unwrap().status.success());
        let output = Command::new(scripts.join("release")).arg(&app).output().unwrap();
        let said = parse_release(&String::from_utf8(output.stdout).unwrap()).unwrap();
        assert_eq!(known(pack, &app, &["A"]), Some(said), "{pack} {file}");
    }
}

#[test]
fn scripts_run_when_they_build_or_a_setting_steers_them() {
    let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps/static");
    assert!(known("static", &app, &[]).is_some());
    assert_eq!(known("static", &app, &["COMMIS_STATIC_ROOT"]), None);
    assert_eq!(known("python", &app, &[]), None);
    assert_eq!(known("static", Path::new("/nowhere"), &[]), None);
}

#[test]
fn a_static_root_that_leaves_the_project_is_refused() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let release = |wanted: &str| {
        let mut command = Command::new(root.join("buildpacks/static/bin/release"));
        command.arg(root.join("tests")).env("COMMIS_STATIC_ROOT", wanted).output().unwrap()
    };
    assert_eq!(release("apps/static/").stdout, b"---\ndefault_process_types:\n  web: commis static apps/static\n");
    for bad in ["..", "/etc", "apps/../..", "apps; id", "-x", "$(id)", "nowhere"] {
        assert!(!release(bad).status.success(), "{bad}");
    }
}
