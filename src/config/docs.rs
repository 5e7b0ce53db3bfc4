//! The annotated configuration files as people read them: whole, or one section.
//!
//! Pure. The texts are `server.toml` and `project.toml`, which are defaults and schema as well; nothing is described
//! a second time here.

use super::{project, server};

/// The server's configuration with every key, its default and what it means.
pub fn template() -> &'static str {
    server::TEMPLATE
}

/// An example of `.commis/project.toml` with every key.
pub fn project_template() -> &'static str {
    project::TEMPLATE
}

/// Sections of the server's configuration, in their order.
pub fn sections() -> Vec<&'static str> {
    let headers = server::TEMPLATE.lines().filter_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
    headers.filter(|name| !name.contains('.')).collect()
}

/// One section of the server's configuration with the comments before it and the sections inside it; or the comments
/// and the line of one key at the top.
pub fn section(name: &str) -> Option<String> {
    let mut found = Vec::new();
    // Blocks are apart by one empty line: comments, then a header or a key, then what belongs to it.
    for block in server::TEMPLATE.split("\n\n") {
        let Some(head) = block.lines().find(|line| !line.starts_with('#')) else { continue };
        let title = head.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let Some(key) = title.or_else(|| head.split_once(" = ").map(|(key, _)| key)) else { continue };
        if key == name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')) {
            found.push(block.trim_end());
        }
    }
    (!found.is_empty()).then(|| found.join("\n\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_printed_with_its_comments() {
        let router = section("router").unwrap();
        assert!(router.starts_with("# The door for browsers"), "{router}");
        assert!(router.contains("\n[router]\nhttp = ") && router.contains("response_timeout = \"60s\"\n"), "{router}");
        assert!(section("builds").unwrap().contains("[builds.env]"), "with the sections inside");
        assert!(section("platform").unwrap().ends_with("platform = \"staging\"\n"));
        assert_eq!(section("nothing"), None);
    }

    #[test]
    fn every_section_can_be_printed() {
        let names = sections();
        assert_eq!(names.len(), 24);
        for name in names {
            assert!(section(name).is_some(), "{name}");
        }
        assert!(project_template().contains("[health]") && template().contains("[ssh]"));
    }
}
