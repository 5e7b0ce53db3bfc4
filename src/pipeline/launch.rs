//! How the line of a Procfile becomes a process. Pure.
//!
//! The line is bash's by contract; it is passed to bash as one argument and never formatted into another text.

use std::path::Path;

/// What of a tree must be sourced before a process starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// Neither `.profile.d/*.sh` nor `.profile`.
    Absent,
    Scripts,
}

/// Sources the profile of the working directory, then becomes the command in `$1`.
const WITH_PROFILE: &str = "for f in .profile.d/*.sh; do if [ -r \"$f\" ]; then . \"$f\"; fi; done
if [ -r .profile ]; then . ./.profile; fi
exec /bin/bash -c \"$1\"";

/// The same for words that no shell reads: they stay as they are.
const WORDS_WITH_PROFILE: &str = "for f in .profile.d/*.sh; do if [ -r \"$f\" ]; then . \"$f\"; fi; done
if [ -r .profile ]; then . ./.profile; fi
case \"$1\" in
*/*) ;;
*) if ! type -P -- \"$1\" >/dev/null; then printf 'error: %s: no such program in PATH\\n' \"$1\" >&2; exit 127; fi ;;
esac
exec -- \"$@\"";

/// Program and arguments for a program that somebody names with its arguments.
pub fn words(command: &[String], profile: Profile) -> Vec<String> {
    let before: &[&str] = match profile {
        Profile::Absent => &[],
        Profile::Scripts => &["/bin/bash", "-c", WORDS_WITH_PROFILE, "commis-launch"],
    };
    before.iter().map(|word| (*word).to_owned()).chain(command.iter().cloned()).collect()
}

/// An interactive shell. Not a login shell in its own eyes: the machine's /etc/profile would take the release's PATH away,
/// and [`words`] has sourced the release's own profile by then.
/// The bash that did so forgets a prompt that it inherits, hence `env`.
pub fn shell(prompt: &str, bash: Bash) -> Vec<String> {
    let words: &[&str] = match bash {
        Bash::There => &["/bin/bash", "--norc", "--noprofile", "-i"],
        Bash::Missing => &["/bin/sh", "-i"],
    };
    let env = ["/usr/bin/env".to_owned(), format!("PS1={prompt}")];
    env.into_iter().chain(words.iter().map(|word| (*word).to_owned())).collect()
}

/// The prompt names what is worked on.
pub fn prompt(project: &str, release: &str, bash: Bash) -> String {
    match bash {
        Bash::There => format!("{project} {release} \\w $ "),
        Bash::Missing => format!("{project} {release} $ "),
    }
}

/// Whether the machine has bash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bash {
    There,
    Missing,
}

/// Program and arguments for a command line of a Procfile.
pub fn argv(command: &str, profile: Profile) -> Vec<String> {
    let words: Vec<&str> = match profile {
        Profile::Absent => vec!["/bin/bash", "-c", command],
        Profile::Scripts => vec!["/bin/bash", "-c", WITH_PROFILE, "commis-launch", command],
    };
    words.into_iter().map(str::to_owned).collect()
}

/// The variables of a process besides the project's own.
pub struct ProcessPlace<'a> {
    pub project: &'a str,
    pub mode: &'a str,
    pub release: String,
    pub commit: &'a str,
    pub process: String,
    pub port: Option<u16>,
    pub run: &'a Path,
    pub data: &'a Path,
    pub path: String,
}

/// The whole environment of a process: the project's variables, then ours, which win.
pub fn environment(project: &[(String, String)], place: &ProcessPlace<'_>) -> Vec<(String, String)> {
    let run = place.run.display().to_string();
    let mut ours = vec![
        ("PATH", place.path.clone()),
        ("HOME", run.clone()),
        ("LANG", "C.UTF-8".to_owned()),
        ("PS", place.process.clone()),
        ("COMMIS_PROJECT", place.project.to_owned()),
        ("COMMIS_MODE", place.mode.to_owned()),
        ("COMMIS_RELEASE", place.release.clone()),
        ("COMMIS_RUN", run),
        ("COMMIS_DATA", place.data.display().to_string()),
        ("SOURCE_VERSION", place.commit.to_owned()),
    ];
    ours.extend(place.port.map(|port| ("PORT", port.to_string())));
    let theirs = project.iter().filter(|(name, _)| !ours.iter().any(|(own, _)| own == name)).cloned();
    theirs.collect::<Vec<_>>().into_iter().chain(ours.iter().map(|(n, v)| ((*n).to_owned(), v.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_stays_one_argument() {
        let command = "run 'a b'; echo \"$HOME\"";
        assert_eq!(argv(command, Profile::Absent), ["/bin/bash", "-c", command]);
        assert_eq!(argv(command, Profile::Scripts).last().map(String::as_str), Some(command));
    }

    #[test]
    fn words_stay_words() {
        let command = ["ls".to_owned(), "a b; id".to_owned(), "$HOME".to_owned()];
        assert_eq!(words(&command, Profile::Absent), command);
        assert_eq!(words(&command, Profile::Scripts)[4..], command);
    }

    #[test]
    fn our_variables_win_over_the_projects() {
        let place = ProcessPlace {
            project: "blog",
            mode: "cooking",
            release: "v1".into(),
            commit: "c",
            process: "web.1".into(),
            port: Some(8123),
            run: Path::new("/p/blog/run"),
            data: Path::new("/p/blog/data"),
            path: "/bin".into(),
        };
        let env = environment(&[("PORT".into(), "1".into()), ("A".into(), "b".into())], &place);
        let get = |name: &str| env.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
        assert_eq!((get("PORT"), get("A"), get("HOME")), (vec!["8123"], vec!["b"], vec!["/p/blog/run"]));
    }
}
