//! What an exec line asks for: one of git's two services on a repository, or the words of a verb. Pure; knows names
//! and spellings, not which projects exist. Nothing here reaches a shell or a child process.

use super::words;
use crate::layouts::spelled::parse_repository_path;
use crate::model::{ProjectName, Repository};
use std::path::Path;

/// Longest line for git: longer than any name we have.
const GIT_LIMIT: usize = 4 << 10;
/// Longest line at all.
const LIMIT: usize = 64 << 10;
/// Where projects are in the published remotes, whatever this server's own root is.
const PUBLISHED_ROOT: &str = "/srv/projects";

/// One exec or shell request, understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    ReceivePack {
        repository: RepositoryPath,
        git_protocol: Option<String>,
    },
    UploadPack {
        repository: RepositoryPath,
        git_protocol: Option<String>,
    },
    /// Words of anything else: `show blog --json`. Never empty.
    Verb(Vec<String>),
    /// No command at all: `ssh commis@host`.
    Nothing,
}

/// A repository, as the client named it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RepositoryPath {
    pub project: ProjectName,
    pub kind: Repository,
    /// As written: `blog`, `/blog.git`, `/srv/projects/blog/git/project.git`.
    pub spelling: String,
}

/// A line that is not served.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadRequest {
    /// The same words as for a project that is not there.
    #[error("no project {0:?}")]
    NoProject(String),
    /// Git asked for something that is not a fetch or a push of one repository.
    #[error("{0}")]
    Git(&'static str),
    #[error("{0}")]
    Line(String),
}

impl BadRequest {
    /// Exit status for the client: 66 no such project, 64 usage.
    pub fn exit_status(&self) -> u32 {
        match self {
            BadRequest::NoProject(_) => 66,
            BadRequest::Git(_) | BadRequest::Line(_) => 64,
        }
    }

    /// Whether git is at the other end, and reads its own kind of error.
    pub fn is_git(&self) -> bool {
        !matches!(self, BadRequest::Line(_))
    }
}

/// Understands one command line. `git_protocol` is the checked value of the client's GIT_PROTOCOL.
pub fn parse(command: &[u8], projects_root: &Path, git_protocol: Option<String>) -> Result<Request, BadRequest> {
    if is_git(command) {
        return git(command, projects_root, git_protocol);
    }
    if command.len() > LIMIT {
        return Err(BadRequest::Line(format!("a command of more than {} kB", LIMIT >> 10)));
    }
    let Ok(line) = std::str::from_utf8(command) else {
        return Err(BadRequest::Line("the command is not UTF-8".into()));
    };
    if line.contains('\0') {
        return Err(BadRequest::Line("a zero byte in the command".into()));
    }
    let words = words::split(line).map_err(|bad| BadRequest::Line(bad.to_string()))?;
    Ok(if words.is_empty() { Request::Nothing } else { Request::Verb(words) })
}

/// Git's own message for its user, as the first packet of an answer: git prints `fatal: remote error: <message>`.
/// One line of at most 1000 bytes.
pub fn git_error_packet(message: &str) -> Vec<u8> {
    let end = message.char_indices().map(|(at, letter)| at + letter.len_utf8()).take_while(|end| *end <= 1000).last();
    let line = message.get(..end.unwrap_or(0)).unwrap_or_default().replace(['\n', '\r', '\0'], " ");
    format!("{:04x}ERR {line}", line.len() + 8).into_bytes()
}

fn is_git(command: &[u8]) -> bool {
    command.starts_with(b"git-") || command.starts_with(b"git ") || command == b"git"
}

fn git(command: &[u8], projects_root: &Path, git_protocol: Option<String>) -> Result<Request, BadRequest> {
    let bad = BadRequest::Git("not a git command that is served here: one repository after git-upload-pack");
    if command.len() > GIT_LIMIT {
        return Err(BadRequest::Git("a git command of more than 4 kB"));
    }
    let Ok(line) = std::str::from_utf8(command) else { return Err(bad) };
    if let Some(refusal) = not_served(line) {
        return Err(refusal);
    }
    let Some((service, argument)) = line.get(4..).and_then(|rest| rest.split_once(' ')) else { return Err(bad) };
    let spelling = unquote(argument).ok_or(bad.clone())?;
    match service {
        "receive-pack" => Ok(Request::ReceivePack { repository: repository(spelling, projects_root)?, git_protocol }),
        "upload-pack" => Ok(Request::UploadPack { repository: repository(spelling, projects_root)?, git_protocol }),
        _ => Err(bad),
    }
}

fn not_served(line: &str) -> Option<BadRequest> {
    let service = line.get(4..)?;
    if service.starts_with("upload-archive") {
        return Some(BadRequest::Git("git archive from here is not served: clone instead"));
    }
    service.starts_with("lfs").then_some(BadRequest::Git("git-lfs is not served here"))
}

/// One argument: `'path'` without a quote or a control character inside, or bare letters that no shell would touch.
fn unquote(argument: &str) -> Option<&str> {
    if let Some(inner) = argument.strip_prefix('\'') {
        let inner = inner.strip_suffix('\'')?;
        return (!inner.contains(|letter: char| letter == '\'' || letter.is_control())).then_some(inner);
    }
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
    (!argument.is_empty() && argument.chars().all(plain)).then_some(argument)
}

fn repository(spelling: &str, projects_root: &Path) -> Result<RepositoryPath, BadRequest> {
    let known = parse_repository_path(projects_root, spelling)
        .or_else(|| parse_repository_path(Path::new(PUBLISHED_ROOT), spelling))
        .or_else(|| short_path(spelling));
    let Some((project, kind)) = known else {
        return Err(BadRequest::NoProject(spelling.chars().take(60).collect()));
    };
    Ok(RepositoryPath { project, kind, spelling: spelling.to_owned() })
}

/// `blog`, `blog.git`, `blog/pillar`, `blog/pillar.git`, each with or without one slash before it.
fn short_path(spelling: &str) -> Option<(ProjectName, Repository)> {
    let path = spelling.strip_prefix('/').unwrap_or(spelling);
    let path = path.strip_suffix(".git").unwrap_or(path);
    match path.strip_suffix("/pillar") {
        Some(name) => Some((ProjectName::parse(name)?, Repository::Pillar)),
        None => Some((ProjectName::parse(path)?, Repository::Project)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ask(command: &[u8]) -> Result<Request, BadRequest> {
        parse(command, Path::new("/tmp/c/projects"), None)
    }

    fn asked_for(command: &str) -> (String, Repository) {
        match ask(command.as_bytes()) {
            Ok(Request::ReceivePack { repository, .. } | Request::UploadPack { repository, .. }) => {
                (repository.project.to_string(), repository.kind)
            }
            other => panic!("{command}: {other:?}"),
        }
    }

    #[test]
    fn every_spelling_of_a_repository_is_understood() {
        for path in [
            "blog",
            "blog.git",
            "/blog",
            "/blog.git",
            "/srv/projects/blog/git/project.git",
            "/srv/projects/blog/git/project",
        ] {
            assert_eq!(
                asked_for(&format!("git-receive-pack '{path}'")),
                ("blog".into(), Repository::Project),
                "{path}"
            );
        }
        for path in [
            "blog/pillar",
            "blog/pillar.git",
            "/blog/pillar.git",
            "/srv/projects/blog/git/pillar.git",
            "/tmp/c/projects/blog/git/pillar.git",
        ] {
            assert_eq!(asked_for(&format!("git-upload-pack '{path}'")), ("blog".into(), Repository::Pillar), "{path}");
        }
        assert_eq!(asked_for("git receive-pack 'blog'").0, "blog");
        assert_eq!(asked_for("git upload-pack blog.git").0, "blog");
        let request = parse(b"git-upload-pack '/blog'", Path::new("/p"), Some("version=2".into())).unwrap();
        let Request::UploadPack { repository, git_protocol } = request else { panic!() };
        assert_eq!((repository.spelling.as_str(), git_protocol.as_deref()), ("/blog", Some("version=2")));
    }

    #[test]
    fn anything_after_a_git_service_but_one_name_is_refused() {
        let long = format!("git-upload-pack '{}'", "a".repeat(100_000));
        let refused: [&[u8]; 26] = [
            b"git-upload-pack '--help'",
            b"git-receive-pack '-x'",
            b"git upload-pack .",
            b"git-upload-pack 'a' 'b'",
            b"git-upload-pack 'a'; id",
            b"git-upload-pack a;id",
            b"git-receive-pack '`id`'",
            b"git-receive-pack \"$(id)\"",
            b"git-receive-pack $(id)",
            b"git-receive-pack 'a\n b'",
            b"git-receive-pack 'a\0b'",
            b"git-receive-pack '\xff'",
            b"git-receive-pack ''",
            b"git-receive-pack '",
            b"git-receive-pack 'a",
            b"git-receive-pack  'a'",
            b"git-receive-pack",
            b"git-receive-pack ",
            b"git-receive-pack --strict 'a'",
            b"git-receive-pack '~/blog'",
            b"git-upload-archive 'blog'",
            b"git-lfs-authenticate blog download",
            b"git lfs-transfer blog upload",
            b"git --exec-path=/tmp upload-pack 'a'",
            b"git",
            long.as_bytes(),
        ];
        for line in refused {
            let bad = ask(line).expect_err(&String::from_utf8_lossy(line));
            assert!(!bad.to_string().contains(['\n', '\0', '\x1b']), "{bad}");
            assert!(bad.exit_status() != 0 && bad.is_git());
        }
    }

    #[test]
    fn a_bad_name_reads_like_a_project_that_is_not_there() {
        let bad = [
            "../b",
            "/srv/x/b.git",
            "b/../a",
            "%2e%2e/b",
            "a.git/hooks",
            "A",
            "a.",
            "a.lock",
            "ａ",
            "//b",
            "b/",
            ".git",
            "/srv/projects/../git/project.git",
            "/srv/projects/b/git/other.git",
            "/pillar/pillar/pillar",
            "x\u{202e}y",
        ];
        for name in bad {
            let refusal = ask(format!("git-upload-pack '{name}'").as_bytes()).unwrap_err();
            assert_eq!(refusal, BadRequest::NoProject(name.to_owned()), "{name}");
            assert!(refusal.to_string().starts_with("no project \"") && !refusal.to_string().contains('\u{202e}'));
        }
        let refusal = ask(format!("git-upload-pack '{}'", "a".repeat(300)).as_bytes()).unwrap_err();
        assert_eq!(refusal.to_string(), format!("no project \"{}\"", "a".repeat(60)));
    }

    #[test]
    fn other_lines_are_the_words_of_a_verb() {
        let words = |list: &[&str]| Ok(Request::Verb(list.iter().map(|word| word.to_string()).collect()));
        assert_eq!(ask(b"show blog --json"), words(&["show", "blog", "--json"]));
        assert_eq!(ask(b"gitk x"), words(&["gitk", "x"]));
        assert_eq!(ask(b"config set blog 'A=b c'"), words(&["config", "set", "blog", "A=b c"]));
        assert_eq!(ask(b"  "), Ok(Request::Nothing));
        for bad in [&b"show \xff"[..], b"show \0", b"show 'x", b"show\nx", &b"x".repeat(LIMIT + 1)] {
            assert!(matches!(ask(bad), Err(BadRequest::Line(_))));
        }
    }

    #[test]
    fn gits_error_packet_counts_itself() {
        assert_eq!(git_error_packet("no\nx"), b"000cERR no x");
        assert_eq!(git_error_packet(&"é".repeat(900)).len(), 1008);
    }

    proptest! {
        #[test]
        fn no_line_makes_the_parser_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ask(&line);
            let _ = ask(&[b"git-upload-pack '", line.as_slice(), b"'"].concat());
        }
    }
}
