//! A push and what comes of it.

use super::support::World;

#[test]
fn a_pushed_application_is_served() {
    let world = World::new();
    let blog = world.project("blog").saying("first");
    blog.push("main").succeeds().says("success: blog v1 is live");
    assert_eq!(world.page("blog").body, "first");
    let blog = blog.saying("second");
    blog.push("main").succeeds().says("v1 -> v2");
    assert_eq!(world.page("blog").body, "second");
    assert_eq!(blog.remote_ref("refs/heads/main"), Some(blog.head()));
    let record = world.json(&["show", "blog", "2"]);
    assert_eq!(record["status"], "success");
    assert_eq!(record["commit"], blog.head().as_str());
}
