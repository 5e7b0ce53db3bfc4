//! Which paths of remotes name a repository.

use super::places::parse_repository_path;
use crate::model::{ProjectName, Repository};
use std::path::Path;

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
