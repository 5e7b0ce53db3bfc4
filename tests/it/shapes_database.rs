//! The shape that most projects have: a web application, its workers and a PostgreSQL, through migrations that fail,
//! versions that are not well, and the way back with and without data. The recipe is in `docs/shapes.md`.

use super::clients::wait_until;
use super::support::leftovers::names;
use super::support::picture::timeless;
use super::support::{Gate, Postgres, Project, World, picture};

/// A shop whose first orders are shipped.
fn shop<'a>(world: &'a World, postgres: &Postgres) -> Project<'a> {
    world.commis(&["project", "create", "shop"]).succeeded();
    let url = format!("DATABASE_URL={}\n", postgres.database("shop"));
    world.commis_with_input(&["config", "set", "shop", "-"], &url).succeeded();
    let shop = world.project("shop").app("shape-shop");
    shop.push("main").succeeds().says("migrating 001_orders.sql").0.is_silent_about("mint-shop");
    for item in ["Tea", "Rice"] {
        buys(world, item);
    }
    shop
}

/// Somebody buys something, and a worker ships it.
fn buys(world: &World, item: &str) {
    let page = world.get("shop.commis.test", &format!("/buy/{item}"));
    assert_eq!(page.status, 200, "{page:?}");
    wait_until(|| orders(world).contains(&format!("{item} shipped")));
}

fn orders(world: &World) -> String {
    world.page("shop").body
}

/// What must be the same after something failed.
#[derive(PartialEq, Debug)]
struct Everything {
    database: String,
    data: Vec<String>,
    page: String,
    run: Vec<String>,
}

fn everything(world: &World, postgres: &Postgres, shop: &Project<'_>) -> Everything {
    world.settle();
    Everything {
        database: postgres.content("shop"),
        data: picture(&shop.place("data")),
        page: orders(world),
        run: timeless(&shop.place("run")),
    }
}

#[test]
fn a_migration_that_fails_after_another_one_is_undone_with_rows_tables_and_receipts() {
    let (world, postgres) = (World::new(), Postgres::start());
    let shop = shop(&world, &postgres);
    let before = everything(&world, &postgres, &shop);
    // In the build: no backup, no dump, nothing to put back.
    let bad = shop.script(".commis/hooks/build", "#!/bin/sh\nexit 3\n").commit("bad build");
    bad.push("main").is_rejected("build-failed").0.is_silent_about("the database is as it was");
    assert_eq!(everything(&world, &postgres, &bad), before);
    let worse = "update orders set item = 'lost'; delete from orders where id = 1; create table extra (id int);\n";
    let bad = bad
        .remove(".commis/hooks/build")
        .write("migrations/002_worse.sql", worse)
        .write("migrations/003_broken.sql", "update nothing set item = 1;\n")
        .commit("half a migration");
    let pushed = bad.push("main");
    pushed.is_rejected("release-failed").says("migrating 003_broken.sql").says("the database is as it was");
    assert_eq!(everything(&world, &postgres, &bad), before);
    assert!(names(&bad.place("run")).iter().all(|name| !name.contains("dump")), "a dump lies in the checkout");
    // The order that is bought next gets the next number, and is shipped.
    buys(&world, "Salt");
    assert!(orders(&world).contains("3 Salt shipped"), "{}", orders(&world));
}

#[test]
fn a_version_that_is_not_well_after_its_migration_takes_what_was_written_since_the_dump_with_it_and_says_so() {
    let (world, postgres) = (World::new(), Postgres::start());
    let shop = shop(&world, &postgres);
    let before = everything(&world, &postgres, &shop);
    let gate = Gate::new();
    // The old version goes on selling while the new one is deployed.
    let bad = shop
        .script(".commis/hooks/deploy", &gate.hook())
        .write("migrations/002_loud.sql", "update orders set item = upper(item);\n")
        .write("broken", "")
        .commit("loud and broken");
    let push = bad.starts_pushing("main");
    let waiting = gate.reached();
    buys(&world, "Late");
    waiting.opens();
    let pushed = push.ended();
    pushed.failed(1).says("(rolled-back: ").says("GET /healthz 500").says("the database is as it was");
    assert_eq!(everything(&world, &postgres, &bad), before);
    // What was discarded is told and kept.
    let record = world.json(&["show", "shop", "2"]);
    let discarded = &record["discarded_writes"];
    assert!(discarded["from"].is_string() && discarded["to"].is_string(), "{record:#}");
    pushed.says("archives/2.failed/data");
    let kept = std::fs::read_to_string(bad.place("archives/2.failed/data/receipts/3.txt")).expect("the receipt");
    assert_eq!(kept, "Late\n");
    buys(&world, "Next");
}

#[test]
fn a_hook_that_fails_after_the_new_version_took_orders_puts_the_database_back_and_restarts_the_workers() {
    let (world, postgres) = (World::new(), Postgres::start());
    let shop = shop(&world, &postgres);
    let before = everything(&world, &postgres, &shop);
    let gate = Gate::new();
    let hook = format!("{}exit 8\n", gate.hook());
    let bad = shop
        .script(".commis/hooks/post_deploy", &hook)
        .write("migrations/002_notes.sql", "alter table orders add column note text default 'new';\n")
        .commit("fails late");
    let push = bad.starts_pushing("main");
    let waiting = gate.reached();
    buys(&world, "Lost");
    waiting.opens();
    push.ended().failed(1).says("hook post_deploy: exit 8").says("the database is as it was");
    assert_eq!(everything(&world, &postgres, &bad), before);
    buys(&world, "Next");
}

#[test]
fn a_shop_goes_back_with_its_database_and_forth_again_and_never_by_accident() {
    let (world, postgres) = (World::new(), Postgres::start());
    let shop = shop(&world, &postgres);
    let first = everything(&world, &postgres, &shop);
    let notes = "alter table orders add column note text default 'new'; update orders set search = null;\n";
    let shop = shop.write("migrations/002_notes.sql", notes).commit("notes");
    shop.push("main").succeeds();
    let search = postgres.sql("shop", "select string_agg(search, ' ' order by id) from orders");
    assert_eq!(search, "tea rice", "the upgrade hook has filled it");
    buys(&world, "Later");
    let second = everything(&world, &postgres, &shop);
    // Neither of the two is meant unless it is said.
    world.commis(&["rollback", "shop"]).failed(1).says("--with-data").says("--code-only");
    assert_eq!(everything(&world, &postgres, &shop), second);
    world.commis(&["rollback", "shop", "--with-data"]).succeeded().says("the database is as it was");
    assert_eq!(everything(&world, &postgres, &shop), first);
    buys(&world, "Tide");
    world.commis(&["rollback", "shop", "v2", "--with-data"]).succeeded();
    assert_eq!(everything(&world, &postgres, &shop), second);
}

#[test]
fn code_alone_goes_back_where_the_old_code_knows_the_new_tables_and_nowhere_else() {
    let (world, postgres) = (World::new(), Postgres::start());
    let shop = shop(&world, &postgres);
    let shop = shop.write("motto.txt", "tea").commit("no migration");
    shop.push("main").succeeds();
    buys(&world, "Later");
    let rows = everything(&world, &postgres, &shop);
    world.commis(&["rollback", "shop", "--code-only"]).succeeded();
    assert_eq!(everything(&world, &postgres, &shop).database, rows.database);
    let shop = shop.write("migrations/002_note.sql", "alter table orders add column note text;\n").commit("note");
    shop.push("main").succeeds();
    let rows = everything(&world, &postgres, &shop);
    world.commis(&["rollback", "shop", "v1", "--code-only"]).failed(3).says("GET /healthz 500");
    assert_eq!(everything(&world, &postgres, &shop), rows);
}
