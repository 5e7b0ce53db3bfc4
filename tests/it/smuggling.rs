//! A server that is trusted signs things that are no release of ours. Each is handed in as a file and fetched from the
//! server itself; each is refused whole, for what it is, and leaves nothing. What is refused for another reason by luck
//! is not refused, so every reason is exact.

use super::support::mallory::{compressed, directory, entry, file, link, pax, zeros};
use super::support::world::Ran;
use super::support::{Mallory, Pair, picture};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use tar::EntryType as Kind;

/// What is written, and what it must be refused for.
struct Lie {
    what: &'static str,
    says: &'static str,
    write: Box<dyn Fn(&mut File)>,
}

fn lie(what: &'static str, says: &'static str, tar: Vec<u8>) -> Lie {
    let stored = compressed(&tar);
    stored_lie(what, says, move |file| file.write_all(&stored).expect("a lie"))
}

fn stored_lie(what: &'static str, says: &'static str, write: impl Fn(&mut File) + 'static) -> Lie {
    Lie { what, says, write: Box::new(write) }
}

/// Production with v1, staging with v2, and Mallory with a word in v2; what must not be touched lies around it.
struct Scene {
    pair: Pair,
    mallory: Mallory,
    escape: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let pair = Pair::of(&["blog"]);
        let blog = pair.staging.project("blog").saying("one");
        blog.push("main").succeeds();
        pair.production.commis(&["promote", "blog"]).succeeded();
        blog.saying("two").push("main").succeeds();
        pair.staging.settle();
        pair.production.settle();
        let mallory = Mallory::at(&pair, "blog", "v2");
        let escape = pair.deployed("blog").join("ESC");
        std::fs::create_dir(&escape).expect("a place outside");
        std::fs::write(escape.join("target"), "untouched").expect("a file outside");
        Self { pair, mallory, escape }
    }

    /// Everything that a release could come to lie in, or change.
    fn surroundings(&self) -> Vec<Vec<String>> {
        let places = ["ESC", "incoming", "releases", "deploy", "run", "data", "archives", "project", "pillar"];
        places.iter().map(|place| picture(&self.pair.deployed("blog").join(place))).collect()
    }

    /// Handed in from a file, and fetched from the server that has it.
    fn refuses(&self, lies: &[Lie]) {
        let before = self.surroundings();
        for lie in lies {
            self.mallory.signs(&lie.write);
            let carton = self.mallory.carton();
            let carton = carton.to_str().expect("a path");
            let pushed = self.pair.production.commis(&["release", "push", "blog", carton, "--json"]);
            self.is_refused(lie, &pushed);
            self.mallory.plants(&self.pair.staging);
            let promoted = self.pair.production.commis(&["promote", "blog", "v2", "--json"]);
            self.is_refused(lie, &promoted);
            self.pair.production.settle();
            assert_eq!(self.surroundings(), before, "{}", lie.what);
        }
        assert_eq!(self.pair.production.page("blog").body, "one");
        assert_eq!(self.pair.shown(&["show", "blog"])["live"], "v1");
        self.takes_the_truth();
    }

    fn is_refused(&self, lie: &Lie, ran: &Ran) {
        let record: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
        let message = record["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(lie.says), "{}: {:?} is not in {ran:#?}", lie.what, lie.says);
        assert_eq!((ran.code, &record["error"]["code"]), (1, &"verify-failed".into()), "{}: {ran:#?}", lie.what);
        let incoming = std::fs::read_dir(self.pair.deployed("blog").join("incoming"));
        assert_eq!(incoming.map(|entries| entries.count()).unwrap_or(0), 0, "{}", lie.what);
    }

    /// The control: what Mallory signs is believed when it is the genuine archive. Otherwise all refusals prove nothing.
    fn takes_the_truth(&self) {
        self.mallory.signs(|file| file.write_all(&self.mallory.stored).expect("the truth"));
        let carton = self.mallory.carton();
        self.pair.production.commis(&["release", "push", "blog", carton.to_str().expect("a path")]).succeeded();
        assert_eq!(self.pair.production.page("blog").body, "two");
    }

    fn outside(&self, name: &str) -> String {
        self.escape.join(name).display().to_string()
    }
}

/// The genuine release with something more in it.
fn more(mallory: &Mallory, what: &'static str, says: &'static str, entries: &[Vec<u8>]) -> Lie {
    lie(what, says, mallory.with_first(&entries.concat()))
}

fn symlink(name: &str, target: &str) -> Vec<u8> {
    link(name, target, Kind::Symlink)
}

const DOTS: &str = "path has an empty, `.` or `..` part";

#[test]
fn a_signed_release_whose_links_leave_its_tree_is_refused() {
    let scene = Scene::new();
    let first = |what, says, entries: &[Vec<u8>]| more(&scene.mallory, what, says, entries);
    let (outside, target) = (scene.outside(""), scene.outside("target"));
    let (comes_without, twice) = ("comes without its directory", "A comes twice or out of order");
    let (leads_out, hard) = ("leads out of the tree", "is a hard link");
    let climbs =
        [directory("tree/A"), directory("tree/A/b"), symlink("tree/A/b/up", "../.."), symlink("tree/B", "A/b/up/../x")];
    let overwrites = [symlink("tree/A", &target), link("tree/B", "A", Kind::Link), file("tree/B", b"OVERWRITTEN")];
    scene.refuses(&[
        first("sym_then_file", comes_without, &[symlink("tree/A", &outside), file("tree/A/pwn", b"x")]),
        first("sym_rel_then_file", comes_without, &[symlink("tree/A", "../../ESC"), file("tree/A/pwn", b"x")]),
        first("sym_then_dir_chmod", twice, &[symlink("tree/A", "../../ESC"), directory("tree/A")]),
        first("sym_replace_file", twice, &[symlink("tree/A", &target), file("tree/A", b"OVERWRITTEN")]),
        first("sym_abs_only", leads_out, &[symlink("tree/A", "/etc/shadow")]),
        first("a link to other people's data", leads_out, &[symlink("tree/A", "../../wiki/data")]),
        first("a link to the pillar", leads_out, &[symlink("tree/A", "../pillar")]),
        first("a link to data and out again", leads_out, &[symlink("tree/A", "../data/../pillar")]),
        first("a link that climbs through another one", leads_out, &climbs),
        first("a circle", "leads in a circle", &[symlink("tree/A", "B"), symlink("tree/B", "A")]),
        first("hard_abs", hard, &[link("tree/A", "/etc/shadow", Kind::Link)]),
        first("hard_dotdot", hard, &[link("tree/A", "../../ESC/target", Kind::Link)]),
        first("hard_via_sym", hard, &overwrites),
    ]);
}

#[test]
fn a_signed_release_whose_names_leave_its_tree_or_lie_is_refused() {
    let scene = Scene::new();
    let first = |what, says, entries: &[Vec<u8>]| more(&scene.mallory, what, says, entries);
    let (control, no_text) = ("name holds control characters", "name is not UTF-8");
    let alike = "differs only in case";
    let long = format!("tree/{}/f", ["d"; 30].map(|d| d.repeat(200)).join("/"));
    scene.refuses(&[
        first("dotdot", DOTS, &[file("tree/../../../ESC/esc1", b"x")]),
        first("dotdot at the top", DOTS, &[file("../../ESC/esc1", b"x")]),
        first("abs", DOTS, &[file(&scene.outside("abs"), b"x")]),
        first("curdir_mode", DOTS, &[directory("./")]),
        first("name_nl_esc", control, &[file("tree/a\nb\x1b[31m", b"x")]),
        first("name_badutf8", no_text, &[entry(b"tree/\xff\xfe", Kind::Regular, b"x", |_| {})]),
        first("an option", "which programs take for an option", &[file("tree/-rf", b"x")]),
        first("two spellings", alike, &[file("tree/AB", b"x"), file("tree/Ab", b"x")]),
        first("two accents", alike, &[file("tree/Ae\u{301}", b"x"), file("tree/A\u{e9}", b"x")]),
        first("long", "path is longer than 4000 bytes", &[pax("path", long.as_bytes()), file("tree/", b"x")]),
        first("file_as_dir", "A/g comes without", &[file("tree/A", b"x"), file("tree/A/g", b"y")]),
    ]);
}

#[test]
fn a_signed_release_that_wants_owners_modes_or_times_of_its_own_is_refused() {
    let scene = Scene::new();
    let first = |what, says, entries: &[Vec<u8>]| more(&scene.mallory, what, says, entries);
    let changed = |change: &dyn Fn(&mut tar::Header)| [entry(b"tree/A", Kind::Regular, b"x", change)];
    let (other_spelling, special) =
        ("the header of tree/A is not as commis writes it", "has a setuid, setgid or sticky bit");
    let (capability, acl) = ("SCHILY.xattr.security.capability", "SCHILY.acl.access");
    let for_all = [entry(b"pax", Kind::XGlobalHeader, b"11 uid=0\n", |_| {})];
    scene.refuses(&[
        first("suid", special, &changed(&|header| header.set_mode(0o6755))),
        first("sticky", special, &changed(&|header| header.set_mode(0o1644))),
        first("everybody writes", other_spelling, &changed(&|header| header.set_mode(0o666))),
        first("owner", other_spelling, &changed(&|header| header.set_uid(1234))),
        first("owner by name", other_spelling, &changed(&|header| header.set_username("root").expect("a name"))),
        first("a time to come", other_spelling, &changed(&|header| header.set_mtime(1 << 32))),
        first(
            "xattr_cap",
            "a PAX header holds SCHILY.xattr",
            &[pax(capability, b"\x01\0\0\x02"), file("tree/A", b"x")],
        ),
        first("an ACL", "a PAX header holds SCHILY.acl", &[pax(acl, b"user::rwx,user:0:rwx"), file("tree/A", b"x")]),
        first("for all that follow", "is a global PAX header", &for_all),
    ]);
}

#[test]
fn a_signed_release_with_anything_but_files_directories_and_links_is_refused() {
    let scene = Scene::new();
    let first = |what, says, entries: &[Vec<u8>]| more(&scene.mallory, what, says, entries);
    let device = |kind, major, minor| {
        [entry(b"tree/A", kind, b"", |header| {
            header.set_device_major(major).and_then(|()| header.set_device_minor(minor)).expect("a device");
        })]
    };
    let sparse = [entry(b"tree/A", Kind::GNUSparse, &[b'Z'; 512], |header| {
        // What it says it has when it is unpacked: eight terabytes.
        let size = [&[0x80, 0, 0, 0][..], &(1_u64 << 43).to_be_bytes()].concat();
        header.as_mut_bytes()[483..495].copy_from_slice(&size);
    })];
    let of_kind = |kind| [entry(b"tree/A", kind, b"", |_| {})];
    scene.refuses(&[
        first("chr", "is a character device", &device(Kind::Char, 1, 1)),
        first("blk", "is a block device", &device(Kind::Block, 254, 0)),
        first("fifo", "is a named pipe", &of_kind(Kind::Fifo)),
        first("a file that goes on", "of an unknown type", &of_kind(Kind::Continuous)),
        first("a volume's label", "of an unknown type", &of_kind(Kind::new(b'V'))),
        first("sparse8T", "is a sparse file", &sparse),
    ]);
}

/// Genuine tars that were changed afterwards.
fn changed_afterwards(mallory: &Mallory) -> Vec<Lie> {
    let members = mallory.members();
    let page = members.iter().find(|member| member.name == "tree/page.txt").expect("a page");
    let without_page = [&mallory.tar[..page.from], &mallory.tar[page.to..]].concat();
    let changed = |at: usize| {
        let mut tar = mallory.tar.clone();
        tar[at] ^= 1;
        tar
    };
    let trailing = [&mallory.tar[..], b"more", &[0; 508]].concat();
    let twice = [&mallory.tar[..], &mallory.tar[..]].concat();
    let stored = mallory.stored.clone();
    vec![
        lie("a manifest that names an absent file", "does not list the files that came", without_page),
        lie("another content", "the tree is not the one that its manifest names", changed(page.from + 512)),
        lie("truncated", "it ends in the middle", mallory.tar[..page.from + 600].to_vec()),
        lie("two_archives", "something follows its end", twice),
        lie("bytes after the end", "something follows its end", trailing),
        lie("something in the padding", "there is something in the padding", changed(page.to - 1)),
        stored_lie("compressed bytes after the end", "it ends in the middle", move |file| {
            file.write_all(&stored).and_then(|()| file.write_all(b"more")).expect("a lie");
        }),
    ]
}

#[test]
fn a_signed_release_that_reads_in_two_ways_is_refused() {
    let scene = Scene::new();
    let mallory = &scene.mallory;
    let inner = file("SMUGGLED", b"pwn");
    let smuggles = [pax("size", inner.len().to_string().as_bytes()), file("tree/A", b""), inner];
    let another_name = [pax("path", b"tree/A"), file("tree/B", b"x")];
    let nothing = [file("app.py", b""), vec![0; 1024]].concat();
    let mut lies = changed_afterwards(mallory);
    lies.extend([
        more(mallory, "tarmageddon", "a PAX header holds size", &smuggles),
        more(mallory, "dup", "A comes twice", &[file("tree/A", b"first"), file("tree/A", b"second")]),
        more(mallory, "two PAX headers", "followed by another", &[pax("path", b"tree/A"), pax("path", b"tree/B")]),
        more(mallory, "a PAX header for a short name", "is not as commis writes it", &another_name),
        lie("no release at all", "stands where commis-release.json should", nothing),
    ]);
    scene.refuses(&lies);
}

/// Claims a size, and delivers that many zeros.
fn claims(start: &[u8], name: &[u8], kind: Kind, size: u64) -> impl Fn(&mut File) + 'static {
    let start = [start, &entry(name, kind, b"", |header| header.set_size(size))].concat();
    move |file| {
        file.write_all(&compressed(&start)).expect("a bomb");
        zeros(file, (size >> 23) as usize);
    }
}

/// A million times this, after something else.
fn repeated(frame: &[u8], before: &[u8]) -> impl Fn(&mut File) + 'static {
    let (thousand, before) = (frame.repeat(1000), before.to_vec());
    move |file| {
        file.write_all(&before).expect("a bomb");
        (0..1000).for_each(|_| file.write_all(&thousand).expect("a bomb"));
    }
}

// More entries than there may be are counted by the room itself (`archives/tests/bombs.rs`): as a journey it takes minutes.
#[test]
fn a_signed_bomb_is_refused_before_it_goes_off() {
    let scene = Scene::new();
    let (start, stored) = (scene.mallory.start(), &scene.mallory.stored);
    let claims = |name, kind, gigabytes: u64| claims(&start, name, kind, gigabytes << 30);
    let (skippable, empty) = ([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0], zstd::bulk::compress(&[], 1).expect("zstd"));
    // A frame that wants two gigabytes to look back on.
    let window = [&[0x28, 0xb5, 0x2f, 0xfd, 0x40, 0xa8, 44, 0][..], &[(300_u32 << 3 | 0b011) as u8, 9, 0, 0]].concat();
    let (no_release, no_size) = ("it is not a release archive", "a compressed frame does not name its size");
    let pax_too_long = "a PAX header of 3221225472 bytes is longer than 8200";
    scene.refuses(&[
        stored_lie("bomb20G", "it unpacks to more than 17179869184 bytes", claims(b"tree/A", Kind::Regular, 20)),
        stored_lie("bomb8G", "it unpacks to more than 200 times its size", claims(b"tree/A", Kind::Regular, 8)),
        stored_lie("longname3G", "is a GNU long name", claims(b"long", Kind::GNULongName, 3)),
        stored_lie("pax3G", pax_too_long, claims(b"pax", Kind::XHeader, 3)),
        stored_lie("window2G", "looks back further than 8388608 bytes", move |file| {
            file.write_all(&window).expect("a bomb");
        }),
        stored_lie("skippable", no_release, repeated(&skippable, &[])),
        stored_lie("skippable after the end", no_release, repeated(&skippable, stored)),
        stored_lie("empty frames", no_size, repeated(&empty, &[])),
        stored_lie("empty frames after the end", no_size, repeated(&empty, stored)),
    ]);
    let most = most_memory(scene.pair.production.server_pid());
    assert!(most < 600_000, "the server took {most} kB");
}

/// The most that a process ever held, in kilobytes. Any of the bombs above would be gigabytes.
fn most_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
