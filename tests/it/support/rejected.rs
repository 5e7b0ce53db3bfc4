//! What must be true after every rejected push, looked at from every side: git's exit code and reason, the record, the
//! ref, the page, the lines that the pusher read.

use super::leftovers::names;
use super::{Project, Pushed, World};
use serde_json::Value;

/// What is live while something is rejected.
pub const OLD: &str = "the old page";

/// A project whose v1 says [`OLD`].
pub fn live_blog(world: &World) -> Project<'_> {
    let blog = world.project("blog").saying(OLD);
    blog.push("main").succeeds();
    assert_eq!(world.page("blog").body, OLD);
    blog
}

/// A push that was rejected, and everything around it is as before.
pub struct Rejected {
    /// What the pusher read, without git's `remote: `.
    pub lines: Vec<String>,
    pub number: u32,
    /// `text` of `(code: text; live=vN; deploy=N)`.
    pub reason: String,
}

/// Pushes the working copy's commit to main, which must be rejected with this code.
pub fn rejected(world: &World, project: &Project<'_>, code: &str) -> Rejected {
    let before = Before::look(world, project);
    let pushed = project.push("main");
    before.still_holds_after(world, project, (&pushed, code))
}

/// How things are before a push.
pub struct Before {
    reference: Option<String>,
    live: Option<String>,
    page: (u16, String),
    releases: Vec<String>,
}

impl Before {
    pub fn look(world: &World, project: &Project<'_>) -> Self {
        let reference = project.remote_ref("refs/heads/main");
        let live = world.commis(&["show", &project.name, "--json"]);
        let live = serde_json::from_str::<Value>(&live.stdout).ok();
        let live = live.and_then(|shown| shown["live"].as_str().map(str::to_owned));
        let page = world.page(&project.name);
        let releases = names(&project.place("releases"));
        Self { reference, live, page: (page.status, page.body), releases }
    }

    pub fn still_holds_after(&self, world: &World, project: &Project<'_>, (pushed, code): (&Pushed, &str)) -> Rejected {
        let lines = lines_of(pushed);
        eprintln!("{}\n{}", pushed.0.stdout.trim_end(), lines.join("\n"));
        pushed.is_rejected(code);
        let reason = reason_of(&pushed.0.stdout);
        let (text, facts) = reason.split_once("; live=").expect("live= in the reason");
        let (live, number) = facts.split_once("; deploy=").expect("deploy= in the reason");
        assert_eq!(live, self.live.as_deref().unwrap_or("none"), "{reason}");
        let number: u32 = number.parse().expect("the number of a deployment");
        let record = world.json(&["show", &project.name, &number.to_string()]);
        assert_eq!(record["reason_code"], code, "{record:#}");
        assert_eq!(record["status"], if code == "internal" { "error" } else { "failure" }, "{record:#}");
        assert_eq!(record["rolled_back"], code == "rolled-back", "{record:#}");
        assert_eq!(record["commit"], project.head().as_str(), "{record:#}");
        check_lines(&lines);
        self.still_holds(world, project);
        let text = text.strip_prefix(&format!("{code}: ")).unwrap_or_else(|| panic!("no {code} in {reason}"));
        Rejected { reason: text.to_owned(), number, lines }
    }

    /// The ref, the page and the shelf are as they were; waits for the tidying.
    pub fn still_holds(&self, world: &World, project: &Project<'_>) {
        assert_eq!(project.remote_ref("refs/heads/main"), self.reference, "the branch moved");
        let page = world.page(&project.name);
        assert_eq!((page.status, page.body), self.page, "another page is served");
        world.settle();
        assert_eq!(names(&project.place("releases")), self.releases, "the shelf of releases changed");
        let listed = world.json(&["releases", &project.name]);
        let listed = listed["releases"].as_array().map_or(0, Vec::len);
        // An archive, its checksum, its signature, and where it comes from; what only helps to pack the next may be there.
        let files = self.releases.iter().filter(|name| !name.ends_with(".frames")).count();
        assert_eq!(listed * 4, files, "the ledger and the shelf disagree");
    }
}

impl Rejected {
    /// The log holds this, on one line or going on below.
    pub fn says(&self, text: &str) -> &Self {
        let whole = self.lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        let found = whole.contains(text) || self.lines.iter().any(|line| line.contains(text));
        assert!(found, "no line says {text:?}: {:#?}", self.lines);
        self
    }

    /// Exactly so many lines hold this.
    pub fn says_times(&self, text: &str, times: usize) -> &Self {
        let found = self.lines.iter().filter(|line| line.contains(text)).count();
        assert_eq!(found, times, "{text:?} in {:#?}", self.lines);
        self
    }

    /// The reason in git's own line holds this.
    pub fn because(&self, text: &str) -> &Self {
        assert!(self.reason.contains(text), "{text:?} not in {:?}", self.reason);
        self
    }
}

/// The lines of the server in what git showed.
pub fn lines_of(pushed: &Pushed) -> Vec<String> {
    let remote = pushed.0.stderr.lines().filter_map(|line| line.strip_prefix("remote: "));
    // What git itself thinks of an object is not ours to word.
    let remote = remote.filter(|line| !line.starts_with("warning: object "));
    remote.map(|line| line.trim_end().to_owned()).collect()
}

fn reason_of(porcelain: &str) -> String {
    let line = porcelain.lines().find(|line| line.starts_with('!')).expect("a rejected ref");
    let fields: Vec<&str> = line.split('\t').collect();
    assert_eq!(fields.get(1).map(|names| names.ends_with(":refs/heads/main")), Some(true), "{line}");
    let reason = fields.get(2).and_then(|text| text.strip_prefix("[remote rejected] ("));
    reason.and_then(|text| text.strip_suffix(')')).unwrap_or_else(|| panic!("not a rejection: {line}")).to_owned()
}

/// Every line is of the grammar, ours are short, and at least one says what is wrong.
fn check_lines(lines: &[String]) {
    const WORDS: [&str; 4] = ["success: ", "error: ", "warning: ", "hint: "];
    for line in lines {
        let ours = line.starts_with("-----> ") || line.starts_with("=====> ");
        let verdict = WORDS.iter().any(|word| line.starts_with(word));
        assert!(ours || verdict || line.starts_with("       "), "not in the grammar: {line:?} in {lines:#?}");
        // A word that is longer than a line stays whole.
        let cannot_wrap = line.split_whitespace().count() <= 2;
        assert!(!(ours || verdict) || cannot_wrap || line.chars().count() <= 72, "more than 72 columns: {line:?}");
    }
    let errors = lines.iter().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(errors, 1, "one error is told once: {lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("hint: ")), "nothing says what next: {lines:#?}");
}
