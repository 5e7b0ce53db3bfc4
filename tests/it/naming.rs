//! How an application is found: names that are given to it and taken away, one owner each; and the page that asks people to
//! come back later.

use super::support::World;

fn asks(world: &World, host: &str, path: &str) -> (u16, String) {
    let page = world.get(host, path);
    (page.status, page.body)
}

#[test]
fn a_name_belongs_to_one_project_until_it_is_removed() {
    let mut world = World::new();
    world.project("blog").saying("blog").push("main").succeeds();
    world.project("shop").saying("shop").push("main").succeeds();
    world.settle();
    assert_eq!(asks(&world, "www.example.com", "/").0, 404);
    world.commis(&["domains", "add", "blog", "WWW.example.com."]).succeeded().says("blog answers at www.example.com");
    assert_eq!(asks(&world, "www.example.com", "/"), (200, "blog".into()));
    world.commis(&["domains:add", "blog", "www.example.com"]).succeeded();
    let taken = world.commis(&["domains", "add", "shop", "www.example.com/shop"]);
    taken.failed(1).says("www.example.com belongs to another project").is_silent_about("blog");
    world.commis(&["domains", "add", "shop", "example.org/shop"]).succeeded();
    assert_eq!(asks(&world, "example.org", "/shop/x"), (200, "shop".into()));
    assert_eq!(asks(&world, "example.org", "/").0, 404, "only below the prefix");
    world.project("blog").saying("newer").push("main").succeeds();
    world.settle();
    assert_eq!(asks(&world, "www.example.com", "/"), (200, "newer".into()), "names stay over deployments");
    world.kill();
    world.start();
    assert_eq!(asks(&world, "www.example.com", "/"), (200, "newer".into()), "and over restarts");
    let names = world.json(&["domains", "list", "blog"]);
    let names: Vec<&str> =
        names["domains"].as_array().expect("names").iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, ["blog.commis.test", "www.example.com"]);
    world.commis(&["domains", "remove", "shop", "www.example.com"]).failed(66);
    world.commis(&["domains", "remove", "blog", "www.example.com"]).succeeded();
    assert_eq!(asks(&world, "www.example.com", "/").0, 404);
    world.commis(&["domains", "add", "shop", "www.example.com"]).succeeded();
    assert_eq!(asks(&world, "www.example.com", "/"), (200, "shop".into()));
}

#[test]
fn what_is_nobodys_to_give_is_refused() {
    let world = World::new();
    world.project("blog").saying("blog").push("main").succeeds();
    for reserved in ["commis.test", "shop.commis.test", "a.b.COMMIS.test."] {
        world.commis(&["domains", "add", "blog", reserved]).failed(1).says("commis.test is the server's");
    }
    for wrong in ["*.example.com", "a b", "example.com:80", "example.com/../x", "example.com/a%2fb", ""] {
        world.commis(&["domains", "add", "blog", wrong]).failed(64);
    }
    world.admit("dev", &[]);
    world.ssh("dev", &["domains", "list", "blog"]).succeeded().says("blog.commis.test");
    world.ssh("dev", &["domains", "add", "blog", "www.example.com"]).failed(77);
}

#[test]
fn a_name_that_somebody_got_meanwhile_does_not_come_back_with_a_destroyed_project() {
    let world = World::new();
    world.project("blog").saying("blog").push("main").succeeds();
    world.project("shop").saying("shop").push("main").succeeds();
    world.settle();
    for name in ["www.example.com", "www.example.org"] {
        world.commis(&["domains", "add", "blog", name]).succeeded();
    }
    world.commis(&["project", "destroy", "blog", "--confirm", "blog"]).succeeded();
    assert_eq!(asks(&world, "www.example.com", "/").0, 404);
    world.commis(&["domains", "add", "shop", "www.example.com/x"]).succeeded();
    world.commis(&["undestroy", "blog"]).succeeded();
    assert_eq!(asks(&world, "www.example.org", "/"), (200, "blog".into()));
    assert_eq!(asks(&world, "www.example.com", "/").0, 404);
    assert_eq!(asks(&world, "www.example.com", "/x"), (200, "shop".into()));
}

#[test]
fn people_are_asked_to_come_back_until_somebody_ends_it() {
    let mut world = World::new();
    let blog = world.project("blog").saying("blog");
    blog.push("main").succeeds();
    world.settle();
    world.commis(&["maintenance", "on", "blog"]).succeeded().says("a page of ours");
    assert_eq!(asks(&world, "blog.commis.test", "/").0, 503);
    let blog = blog.write(".commis/maintenance.html", "<h1>Back at noon</h1>").saying("newer");
    blog.push("main").succeeds();
    world.settle();
    assert_eq!(asks(&world, "blog.commis.test", "/").0, 503, "it stays over deployments");
    world.commis(&["maintenance:on", "blog"]).succeeded().says("its own page");
    assert_eq!(asks(&world, "blog.commis.test", "/"), (503, "<h1>Back at noon</h1>".into()));
    drop(blog);
    world.kill();
    world.start();
    assert_eq!(asks(&world, "blog.commis.test", "/"), (503, "<h1>Back at noon</h1>".into()), "and over restarts");
    world.commis(&["maintenance", "off", "blog"]).succeeded();
    assert_eq!(asks(&world, "blog.commis.test", "/"), (200, "newer".into()));
}
