//! Commis: you push, it cooks, deploys, checks, and puts back what was not well.
//!
//! This is the map. It names the rooms, follows one push through them, and says what is absent on purpose.
//! What a word means and what lies where on the disk is in `docs/design.md`.
//!
//! # Bird's eye
//!
//! ```text
//!   git, ssh            commis VERB            browser
//!      |                    |                     |
//!    ssh                 cli, api              router  -----------> the application's processes
//!      |                    |                     ^                        ^
//!      +---- operations ----+                     |                        |
//!                |                                |                        |
//!             pipeline: gather -> plan -> execute + -- runtime -- sandbox -+
//!                |                          |
//!        hooks, buildpacks          git, archives, backups, trees, store, system
//! ```
//!
//! - A **door** ([`ssh`], [`api`], [`cli`]) understands a request and knows who asks. What it asks for stands in
//!   [`verbs`] and is done by [`operations`]; nothing reaches past that.
//! - [`pipeline`] is one deployment. `gather` looks, `plan` decides without touching anything, `execute` does what the
//!   plan says and nothing else. Undoing is the same machinery with other steps.
//! - Below are the rooms that do one thing each, and below them [`model`], the words that all share.
//!
//! # Three rules
//!
//! 1. A room is a word of the domain. A room uses only rooms listed before it here; `tests/it/tidy.rs` holds the table.
//! 2. Inside a room, files that decide are pure (their head says so), and files that do are thin.
//! 3. A file opens with its law: what lives there, what must not, where to go instead.
//!
//! # One push, step by step
//!
//! `git push commis main`, in mode cooking:
//!
//! 1. [`ssh::server`] accepts. `ssh/doorstep.rs` gives strangers little time and room, `ssh/session.rs` says no to all
//!    but exec, [`ssh::request`] understands `git-receive-pack 'blog'`. `server/reception.rs` turns the key into a
//!    [`model::Actor`] and calls [`operations::Platform::serve_git`] (`operations/serve_git.rs`), which asks
//!    [`operations::authorize`] and makes the project on an admin's first push.
//! 2. [`git::transport`] starts `git receive-pack` as the git user, with an empty environment. When all objects are
//!    stored and no ref has moved, git calls its hook `proc-receive`: this program again, [`git::relay`], which carries
//!    bytes to the server's hook socket. [`git::conversation`] speaks git's protocol there, [`git::proc_receive`]
//!    understands it.
//! 3. `operations/push.rs` gives each ref its fate: stored, refused, or deployed. `operations/deploy.rs` writes the
//!    deployment into [`store`], takes a place in [`pipeline::queue`], and once it is its turn compares the branch with
//!    what the pusher saw: a push that is `stale` ends here, before any work.
//! 4. [`pipeline::gather`] reads the commit's tree through libgit2 ([`git::objects`], checked by [`git::tree`]),
//!    Procfile, `app.json` and `.commis/` through [`config`], the pillar through [`config::pillar`]; [`hooks::find`](mod@hooks::find)
//!    and [`buildpacks::detect`] say what there is. The result is [`pipeline::facts::Facts`].
//! 5. [`pipeline::plan`] turns the facts into phases of [`pipeline::step::Step`]s, by the recipes in
//!    [`pipeline::phases`]. `tests/plans/` holds what comes out for every application of the tests.
//! 6. [`pipeline::execute`] carries the steps out, one match. Each is timed; `show --json` has the times.
//!    - `execute/prepare.rs`: directories, an empty `build/`, the tree written by [`git::checkout`](mod@git::checkout), file by file.
//!    - `execute/scripts.rs`: hooks and the buildpack, as the build user, in the view that [`pipeline::view`] describes
//!      and [`sandbox::view`] builds: `build/` seen at the path of `run/`. Output passes [`notify::filter`].
//!    - `execute/bundle.rs`: [`archives::pack`](mod@archives::pack) makes the release of `build/`, [`archives::listed`] of a commit
//!      for which nothing has to run; [`archives::manifest`] says what is in it.
//!    - `execute/data.rs`: the hook `backup`, and a copy of `data/` by [`backups::backup`]; from there on a row says that
//!      data may be touched.
//!    - `execute/switch.rs`: [`archives::unpack`](mod@archives::unpack) below `deploy/` (a rollback to the release before takes
//!      the tree that [`pipeline::kept`] found, `execute/take.rs`), the branch's lock, the `release:` line, the exchange
//!      with `run/` (journaled before and after), [`runtime::supervisor`] starts the processes beside the old ones,
//!      [`pipeline::health`] asks them, [`router`] sends requests to them, the branch moves. The router is a process of its own
//!      ([`router::process`]); what the others hold is a handle that tells it.
//! 7. Not well: [`pipeline::rollback`] turns the steps that were begun into those that undo them, and
//!    `execute/undo.rs` does them; `execute/restore.rs` puts data back when it was touched. The failure has a [`model::Code`]; [`operations::outcome`] says which exit code.
//! 8. The verdict goes back the same way: `ok`, or `ng` with the code, and git prints it and exits 0 or 1.
//!    `execute/tidy.rs` stops the old processes, looks at the new tree, keeps the old one and drops old releases afterwards;
//!    only the next deployment waits for it.
//! 9. The power went out in between: at the next start `operations/recover.rs` ends what was unfinished. Before the
//!    switch that is undoing; after it, what the branch says decides.
//!
//! Beside all that, `operations/timekeeper.rs` asks [`tasks`] what of the live releases' scheduled tasks is due and starts it,
//! and `operations/one_off.rs` runs what somebody wants to run now. Neither starts anything between a switch and its verdict
//! ([`pipeline::between`]).
//!
//! What the pusher reads is written in [`notify::words`], sent by [`notify::live`], and the same bytes are the log file.
//!
//! In mode final steps 4 and 5 are others: `operations/promote.rs` settles which release is meant by asking the server that
//! cooked it ([`upstream`]), `execute/fetch.rs` takes it from there, [`pipeline::shelving`] verifies it and puts it on the
//! shelf; what comes as a stream is taken in by `operations/incoming.rs`. From the unpacking on it is the same.
//!
//! # Invariants: what you will not find
//!
//! - **No path made outside [`layouts::places`]**, so that every place on disk is on one page.
//! - **No SQL outside [`store`]**, and no call to it returns before the disk has it.
//! - **No root power outside [`system::privileged`] and [`sandbox::init`]**: a closed list of operations as data, and
//!   the one way to become somebody else's program. It runs in this process still; it is shaped to leave it.
//! - **No shell.** Commands are lists of arguments. The lines of a Procfile are the one exception, by their contract.
//! - **No environment inherited** by anything that is started, and none read outside [`config::load`](mod@config::load).
//! - **No way to move the deploy branch but a deployment that went well**; git never moves it by itself, except after
//!   the verdict for a push from a shallow clone, whose grafts only git can write.
//! - **No second code path for a rollback**: it is a plan of the same steps.
//! - **No connection owns a deployment.** Doors watch; closing one stops nothing but by the rule for Ctrl-C.
//! - **No panic on input**: no `unwrap` outside tests; a failure is a [`model::Failure`] that says where, what, what next.
//! - **No clock and no randomness in deciding code**: both come in as values ([`system::clock`], [`system::entropy`]).
//!
//! # The rooms, from foundation to roof

// The words, and what was asked.
pub mod model;

pub mod config;

// The machine, and the shape of a project on it.
pub mod system;

pub mod layouts;

// Rooms that do one thing each.
pub mod hooks;

pub mod buildpacks;

pub mod sandbox;

pub mod git;

pub mod trees;

pub mod backups;

pub mod archives;

pub mod storage;

pub mod router;

pub mod runtime;

pub mod store;

pub mod notify;

pub mod upstream;

pub mod tasks;

// One deployment, then everything that can be asked for.
pub mod pipeline;

pub mod verbs;

pub mod operations;

// The doors, and the roof.
pub mod ssh;

pub mod api;

pub mod cli;

pub mod server;
