//! What must not be there when nothing is being deployed: half files, trees, mounts, groups, locks.

use super::children::{below, names};
use super::ground;
use super::session::Session;
use super::standing;
use std::path::Path;

/// Everything that is left, in words.
pub fn of(session: &Session) -> Vec<String> {
    let mut left = Vec::new();
    let mut say = |what: &str, found: Vec<String>| {
        if !found.is_empty() {
            left.push(format!("left {what}: {found:?}"));
        }
    };
    let roots = &session.machine.roots;
    say("in build/", names(&session.place("build")));
    say("in trash/", names(&session.place("trash")));
    say("in deploy/", names(&session.place("deploy")).into_iter().filter(|name| name != "current").collect());
    let archived = |name: &String| name.trim_end_matches(".failed").trim_end_matches(".left").parse::<u32>().is_err();
    say("in archives/", names(&session.place("archives")).into_iter().filter(archived).collect());
    let volatile = names(&roots.runtime.join("projects").join(super::session::PROJECT));
    say("in the runtime directory", volatile.into_iter().filter(|name| name != "deploy.lock").collect());
    for root in [&roots.projects, &roots.state, &roots.logs] {
        say("half written", below(root).iter().filter(|path| is_half(path)).map(|p| p.display().to_string()).collect());
    }
    say("mounted", standing::mounts(session));
    say("in incoming/", session.halves.strange(names(&session.place("incoming"))));
    say("as groups", groups(session));
    left
}

/// Names under which things grow, or wait, or lock.
fn is_half(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let inside = |what: &str| path.components().any(|part| part.as_os_str() == what);
    // What comes in is looked at by its names.
    if inside("run") || inside("data") || inside("buildpacks") || inside("incoming") {
        return false;
    }
    let locked = name.ends_with(".lock") && name != "server.lock" && name != "deploy.lock";
    let hidden = name.starts_with('.') && name.ends_with(".new");
    locked || hidden || name.contains(".partial") || name.starts_with("tmp_objdir-") || name.starts_with(".commis-")
}

/// Groups without a process.
fn groups(session: &Session) -> Vec<String> {
    let Some(id) = ground::server_id(&session.machine.roots.state.join("state.db")) else { return Vec::new() };
    let tops = ground::cgroups(&id);
    let groups = tops.iter().flat_map(|top| below_directories(top).into_iter());
    let empty = |group: &std::path::PathBuf| {
        std::fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|pids| pids.trim().is_empty())
            && below_directories(group).is_empty()
    };
    groups.filter(empty).map(|group| group.display().to_string()).collect()
}

fn below_directories(directory: &Path) -> Vec<std::path::PathBuf> {
    names(directory).into_iter().map(|name| directory.join(name)).filter(|path| path.is_dir()).collect()
}
