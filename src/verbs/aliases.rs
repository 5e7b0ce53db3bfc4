//! Spellings of Heroku and Dokku, turned into ours before parsing. Silent: muscle memory is welcome. Pure.

/// Replaces the first word, and moves `-a NAME` / `--app NAME` to where the name belongs.
pub fn translate(words: Vec<String>) -> Vec<String> {
    let Some((first, rest)) = words.split_first() else { return words };
    match first.as_str() {
        "help" => return rest.iter().cloned().chain(["--help".to_owned()]).collect(),
        "version" => return vec!["--version".to_owned()],
        // `commis disk blog`: the verb that looks need not be said.
        "disk"
            if !rest.first().is_some_and(|word| ["show", "limit", "trim", "--help", "-h"].contains(&word.as_str())) =>
        {
            return ["disk", "show"].map(str::to_owned).into_iter().chain(rest.iter().cloned()).collect();
        }
        _ => {}
    }
    let Some(ours) = ours(first) else { return words };
    let (app, rest) = take_app(rest);
    let mut out: Vec<String> = ours.iter().map(|word| (*word).to_owned()).collect();
    out.extend(app);
    out.extend(rest);
    out
}

fn ours(word: &str) -> Option<&'static [&'static str]> {
    Some(match word {
        "apps" | "apps:list" | "projects" => &["list"],
        "apps:create" | "create" => &["project", "create"],
        "apps:destroy" | "destroy" => &["project", "destroy"],
        "undestroy" => &["project", "undestroy"],
        "apps:info" | "apps:report" => &["show"],
        "ps:report" => &["ps"],
        "domains:add" => &["domains", "add"],
        "domains:remove" => &["domains", "remove"],
        "domains:report" => &["domains", "list"],
        "maintenance:on" => &["maintenance", "on"],
        "maintenance:off" => &["maintenance", "off"],
        "ps:scale" | "dyno:scale" => &["scale"],
        "ps:restart" | "dyno:restart" => &["restart"],
        "ps:stop" => &["stop"],
        "ps:start" => &["start"],
        "config:set" => &["config", "set"],
        "config:unset" => &["config", "unset"],
        "config:show" | "config:export" => &["config", "show"],
        "releases:rollback" | "ps:rollback" => &["rollback"],
        "redeploy" | "ps:rebuild" => &["deploy"],
        "ssh-keys:add" | "keys:add" => &["key", "add"],
        "ssh-keys:list" | "keys" => &["key", "list"],
        "ssh-keys:remove" | "keys:remove" => &["key", "remove"],
        "builds:cancel" | "apps:cancel" => &["cancel"],
        "cron:list" => &["task", "list"],
        "cron:run" => &["task", "run"],
        // Ours already, but people add `-a NAME` to them.
        "logs" => &["logs"],
        "ps" => &["ps"],
        "scale" => &["scale"],
        "restart" => &["restart"],
        "releases" => &["releases"],
        "rollback" => &["rollback"],
        _ => return None,
    })
}

fn take_app(words: &[String]) -> (Option<String>, Vec<String>) {
    let mut app = None;
    let mut rest = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-a" | "--app" => app = words.next().cloned(),
            other => match other.strip_prefix("--app=") {
                Some(name) => app = Some(name.to_owned()),
                None => rest.push(word.clone()),
            },
        }
    }
    (app, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heroku_and_dokku_spellings_mean_ours() {
        for (said, meant) in [
            ("apps:create blog", "project create blog"),
            ("config:set -a blog A=1", "config set blog A=1"),
            ("config:set blog A=1", "config set blog A=1"),
            ("ps blog", "ps blog"),
            ("logs --app=blog -f", "logs blog -f"),
            ("show blog", "show blog"),
            ("help config set", "config set --help"),
            ("version", "--version"),
            ("cron:list -a blog", "task list blog"),
            ("", ""),
            ("disk", "disk show"),
            ("disk blog", "disk show blog"),
            ("disk --json", "disk show --json"),
            ("disk limit blog 5G", "disk limit blog 5G"),
            ("undestroy blog", "project undestroy blog"),
        ] {
            let words = said.split_whitespace().map(str::to_owned).collect();
            assert_eq!(translate(words).join(" "), meant);
        }
    }
}
