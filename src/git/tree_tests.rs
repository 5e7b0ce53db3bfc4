//! Trees made by hand, good and hostile, against the walk in `tree`; nothing here touches a disk. Trees that went
//! through a real push are tested in `objects` and `transport`.

use super::*;
use std::collections::HashMap;

#[derive(Default)]
struct Made {
    objects: HashMap<[u8; 20], Vec<u8>>,
    reads: usize,
}

impl Made {
    fn add(&mut self, bytes: &[u8]) -> ObjectId {
        let mut id = [0u8; 20];
        id[..8].copy_from_slice(&(self.objects.len() as u64 + 1).to_be_bytes());
        self.objects.insert(id, bytes.to_vec());
        ObjectId(id)
    }

    fn tree(&mut self, entries: &[(&str, &[u8], ObjectId)]) -> ObjectId {
        let bytes: Vec<u8> =
            entries.iter().flat_map(|(mode, name, id)| [mode.as_bytes(), b" ", name, b"\0", &id.0].concat()).collect();
        self.add(&bytes)
    }
}

impl Source for Made {
    fn tree(&mut self, id: ObjectId) -> Result<Vec<u8>, Failure> {
        self.reads += 1;
        self.blob(id)
    }

    fn size(&mut self, id: ObjectId) -> Result<u64, Failure> {
        self.blob(id).map(|bytes| bytes.len() as u64)
    }

    fn blob(&mut self, id: ObjectId) -> Result<Vec<u8>, Failure> {
        self.objects.get(&id.0).cloned().ok_or_else(|| Failure::new(Code::Internal, format!("no object {id}")))
    }
}

fn one(mode: &str, name: &[u8], content: &[u8]) -> Result<Tree, Failure> {
    let mut made = Made::default();
    let blob = made.add(content);
    let root = made.tree(&[(mode, name, blob)]);
    walk(root, &TreeLimits::default(), &mut made)
}

#[test]
fn an_ordinary_tree_is_listed_with_its_modes_links_and_sizes() {
    let mut made = Made::default();
    let (file, link) = (made.add(b"hello"), made.add(b"../app.py"));
    let bin = made.tree(&[("100755", b"run", file), ("120000", b"self", link)]);
    let root = made.tree(&[("100644", b"app.py", file), ("40000", b"bin", bin), ("100664", b"old", file)]);
    let tree = walk(root, &TreeLimits::default(), &mut made).unwrap();
    assert_eq!(tree.paths().collect::<Vec<_>>(), ["app.py", "old", "bin/run", "bin/self"]);
    assert_eq!(tree.directories, ["bin"]);
    assert_eq!(tree.bytes, 24);
    assert_eq!(tree.entries[1].kind, Kind::File { executable: false });
    assert_eq!(tree.entries[2].kind, Kind::File { executable: true });
    assert_eq!(tree.entries[3].kind, Kind::Symlink { target: "../app.py".into() });
}

#[test]
fn each_hostile_entry_is_refused_by_its_path() {
    let cases: [(&str, &[u8], &[u8], &str); 10] = [
        ("100644", b".git", b"x", ".git: a spelling of .git"),
        ("104755", b"suid", b"x", "suid: a file of mode 104755"),
        ("160000", b"sub", b"x", "sub: a submodule, which is not supported"),
        ("120000", b"link", b"/etc/shadow", "link: a symbolic link with an absolute target"),
        ("120000", b"up", b"../../../../etc", "up: a symbolic link that leaves the project"),
        ("120000", b".gitmodules", b"x", ".gitmodules: a .gitmodules that is a symbolic link"),
        ("100644", b"a\nb", b"x", "a\\u{a}b: a name with control or invisible characters"),
        ("100644", b"\xff", b"x", "\\xff: a name that is not UTF-8"),
        ("120000", b"empty", b"", "empty: a symbolic link with no target, or with one that is too long"),
        ("100644", b"..", b"x", "..: a name that no file can have"),
    ];
    for (mode, name, content, what) in cases {
        let failure = one(mode, name, content).unwrap_err();
        assert_eq!((failure.code, failure.what.as_str()), (Code::Refused, what));
        assert!(!failure.hints.is_empty());
    }
    assert!(one("100644", b"good", b"x").is_ok());
}

#[test]
fn a_path_cannot_be_both_a_file_and_a_directory() {
    let mut made = Made::default();
    let (file, target) = (made.add(b"x"), made.add(b"b"));
    let inner = made.tree(&[("100644", b"x", file)]);
    let root = made.tree(&[("120000", b"a", target), ("100644", b"a.b", file), ("40000", b"a", inner)]);
    assert_eq!(walk(root, &TreeLimits::default(), &mut made).unwrap_err().what, "a: a name that is there twice");
    let root = made.tree(&[("100644", b"readme", file), ("100644", b"README", file)]);
    assert!(walk(root, &TreeLimits::default(), &mut made).is_ok());
}

#[test]
fn a_bomb_of_a_thousand_million_files_is_refused_after_a_few_reads() {
    let mut made = Made::default();
    let blob = made.add(b"x");
    for (mode, leaf) in [("100644", blob), ("40000", made.tree(&[]))] {
        let mut id = leaf;
        let mut mode = mode;
        for _ in 0..9 {
            let entries: Vec<(&str, Vec<u8>)> = (0..10).map(|n| (mode, format!("f{n}").into_bytes())).collect();
            let entries: Vec<_> = entries.iter().map(|(mode, name)| (*mode, name.as_slice(), id)).collect();
            id = made.tree(&entries);
            mode = "40000";
        }
        made.reads = 0;
        let limits = TreeLimits { max_files: 1000, ..TreeLimits::default() };
        let failure = walk(id, &limits, &mut made).unwrap_err();
        assert!(failure.what.ends_with("more than 1000 files and directories"), "{}", failure.what);
        assert!(made.reads <= 1001, "{}", made.reads);
    }
}

#[test]
fn every_limit_is_kept_and_named() {
    let mut made = Made::default();
    let blob = made.add(&[b'x'; 100]);
    let mut deep = blob;
    for level in 0..10 {
        deep = made.tree(&[(if level == 0 { "100644" } else { "40000" }, b"dir", deep)]);
    }
    let wide = made.tree(&[("100644", b"a", blob), ("100644", b"b", blob)]);
    let all = TreeLimits::default();
    for (root, limits, what) in [
        (deep, TreeLimits { max_depth: 8, ..all.clone() }, "more than 8 directories deep"),
        (deep, TreeLimits { max_path: 20, ..all.clone() }, "a path of more than 20 bytes"),
        (wide, TreeLimits { max_bytes: 150, ..all.clone() }, "more than 150 bytes in all"),
        (wide, TreeLimits { max_file: 99, ..all.clone() }, "a file of 100 bytes: at most 99"),
        (deep, TreeLimits { max_name: 2, ..all.clone() }, "a name that is too long"),
    ] {
        let failure = walk(root, &limits, &mut made).unwrap_err();
        assert!(failure.what.ends_with(what), "{}", failure.what);
    }
    assert!(walk(deep, &all, &mut made).is_ok() && walk(wide, &all, &mut made).is_ok());
}

#[test]
fn bytes_that_are_no_tree_are_refused() {
    for bytes in [&b"100644 a"[..], b"100644 a\0short", b"999999 a\0", b"\0\0\0", b"+7 a\0aaaaaaaaaaaaaaaaaaaa"] {
        let mut made = Made::default();
        let root = made.add(bytes);
        assert!(walk(root, &TreeLimits::default(), &mut made).is_err());
    }
}
