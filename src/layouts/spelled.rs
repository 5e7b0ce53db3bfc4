//! Paths that people write, read back: which project and repository they mean. Builds none.

use crate::model::{ProjectName, Repository};
use std::path::Path;

/// The absolute paths of the RFC's remotes: `/srv/projects/blog/git/project.git` names `blog`.
pub fn parse_repository_path(projects: &Path, path: &str) -> Option<(ProjectName, Repository)> {
    let rest = path.strip_prefix(projects.to_str()?)?.strip_prefix('/')?;
    let (name, rest) = rest.split_once('/')?;
    let kind = match rest {
        "git/project.git" | "git/project" => Repository::Project,
        "git/pillar.git" | "git/pillar" => Repository::Pillar,
        _ => return None,
    };
    Some((ProjectName::parse(name)?, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfcs_absolute_paths_name_a_project() {
        let root = Path::new("/srv/projects");
        let blog = ProjectName::parse("blog").unwrap();
        assert_eq!(
            parse_repository_path(root, "/srv/projects/blog/git/project.git"),
            Some((blog.clone(), Repository::Project))
        );
        assert_eq!(parse_repository_path(root, "/srv/projects/blog/git/pillar.git"), Some((blog, Repository::Pillar)));
        for other in ["/srv/projects/blog", "/srv/projects/../git/project.git", "/srv/projectsblog/git/project.git"] {
            assert_eq!(parse_repository_path(root, other), None, "{other}");
        }
    }
}
