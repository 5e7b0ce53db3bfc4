//! One-off commands and shells at real terminals, over ssh and on the server itself.

use super::bench::lives;
use super::beside::comes_true;
use super::support::{Running, World};
use nix::sys::signal::Signal;
use std::process::Command;

/// `ssh -t` with a terminal that is so large.
fn at_terminal(command: Command, what: &str) -> Running {
    let mut command = command;
    command.env("TERM", "xterm-256color").env("PATH", "/usr/bin:/bin").env("HOME", "/nowhere");
    Running::at_terminal(&command, what)
}

fn over_ssh(world: &World, words: &[&str]) -> Running {
    let mut command = Command::new("ssh");
    command.arg("-t").args(world.ssh_options("admin")).args(["-p", &world.ssh.to_string(), "commis@127.0.0.1"]);
    command.args(words);
    at_terminal(command, "ssh -t")
}

fn here(world: &World, words: &[&str]) -> Running {
    at_terminal(world.commis_command(words), "commis at a terminal")
}

#[test]
fn a_command_has_a_terminal_of_its_own_when_its_caller_has_one() {
    let world = World::new();
    world.project("blog").saying("hello").push("main").succeeds();
    let script =
        "tty; echo TERM=$TERM; test -t 0 && test -t 1 && test -t 2 && echo all three; stty -a | head -1; exit 4";
    let quoted = format!("'{script}'");
    for running in [
        over_ssh(&world, &["run", "blog", "--", "sh", "-c", &quoted]),
        here(&world, &["run", "blog", "--", "sh", "-c", script]),
    ] {
        let ran = running.ended();
        ran.failed(4).says("/dev/pts/").says("TERM=xterm-256color\r\n").says("all three").says("rows ");
    }
    // Without one: plain pipes.
    world.ssh("admin", &["run", "blog", "--", "sh", "-c", "'test -t 1 || echo a pipe'"]).succeeded().says("a pipe");
}

#[test]
fn ctrl_c_is_a_key_for_the_program_and_a_lost_connection_hangs_up() {
    let world = World::new();
    world.project("blog").saying("hello").push("main").succeeds();
    let script = "trap \"echo interrupted; exit 9\" INT; echo up; while :; do sleep 0.1; done";
    let quoted = format!("'{script}'");
    for mut running in [
        over_ssh(&world, &["run", "blog", "--", "sh", "-c", &quoted]),
        here(&world, &["run", "blog", "--", "sh", "-c", script]),
    ] {
        running.until("up");
        running.types("\x03");
        running.ended().failed(9).says("interrupted");
    }
    let words = [
        "run",
        "blog",
        "--",
        "sh",
        "-c",
        "trap \"sleep 0.1; echo hung up > ../data/note\" HUP; setsid sleep 95151 & echo up; sleep 95152",
    ];
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let mut gone = here(&world, &words);
        gone.until("up");
        let client = client_of(&world, gone.pid());
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(client), signal);
        comes_true("nothing is left", || !lives("95151") && !lives("95152"));
        let _ = gone.ended();
    }
    let note = world.path("srv/blog/data/note");
    comes_true("it was told", || std::fs::read_to_string(&note).is_ok_and(|text| text == "hung up\n"));
}

/// The process that our terminal runs.
fn client_of(_: &World, terminal: u32) -> i32 {
    let children = std::fs::read_to_string(format!("/proc/{terminal}/task/{terminal}/children")).expect("children");
    children.split_whitespace().next().and_then(|pid| pid.parse().ok()).expect("a client")
}

#[test]
fn a_shell_names_what_it_is_in_and_takes_keys_as_they_are_typed() {
    let world = World::new();
    world
        .project("blog")
        .saying("hello")
        .write(".profile.d/a.sh", "export FROM_PROFILE=yes\n")
        .commit("p")
        .push("main")
        .succeeds();
    for mut shell in [over_ssh(&world, &["shell", "blog"]), here(&world, &["shell", "blog"])] {
        shell.until("blog v1 ~ $ ");
        shell.types("echo $PS-$FROM_PROFILE-$((6*7))\r");
        shell.until("-yes-42\r\n");
        // Job control: a terminal of its own, in the foreground.
        shell.types("sleep 95161\r");
        comes_true("it sleeps", || lives("95161"));
        shell.types("\x03");
        comes_true("it was interrupted", || !lives("95161"));
        shell.types("exit 5\r");
        shell.ended().failed(5).is_silent_about("no job control");
    }
    world.commis(&["shell", "blog"]).failed(64).says("a shell needs a terminal").says("run blog -- CMD");
    world.ssh("admin", &["shell", "blog"]).failed(64).says("ssh -t -p").says("shell blog");
}

#[test]
fn the_window_is_as_large_as_the_terminal_and_follows_it() {
    let world = World::new();
    world.project("blog").saying("hello").push("main").succeeds();
    let wait = "trap \"stty size\" WINCH; stty size; while :; do sleep 0.05; done";
    let quoted = format!("'{wait}'");
    for (door, words) in
        [("ssh", ["run", "blog", "--", "sh", "-c", &quoted]), ("here", ["run", "blog", "--", "sh", "-c", wait])]
    {
        let command = match door {
            "ssh" => {
                let mut command = Command::new("ssh");
                command.arg("-t").args(world.ssh_options("admin"));
                command.args(["-p", &world.ssh.to_string(), "commis@127.0.0.1"]).args(words);
                command
            }
            _ => world.commis_command(&words),
        };
        let mut resized = Command::new("/usr/bin/python3");
        resized.args(["-c", RESIZED]).arg(command.get_program()).args(command.get_args());
        resized.env("COMMIS_CONFIG", world.config());
        let ran = resized.output().expect("python");
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(said.contains("33 101") && said.contains("44 122"), "{door}: {said} {ran:?}");
    }
}

/// Runs a command at a terminal of 33 by 101, makes it 44 by 122 once that was said, and presses Ctrl-C at last.
const RESIZED: &str = r#"import fcntl, os, pty, struct, sys, termios
def size(terminal, rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
pid, terminal = pty.fork()
if pid == 0:
    size(0, 33, 101)
    os.execvp(sys.argv[1], sys.argv[1:])
said = b''
step = 0
while True:
    try: piece = os.read(terminal, 4096)
    except OSError: break
    if not piece: break
    said += piece
    if step == 0 and b'33 101' in said:
        step = 1
        size(terminal, 44, 122)
    if step == 1 and b'44 122' in said:
        step = 2
        os.write(terminal, b'\x03')
os.write(1, said)
os.waitpid(pid, 0)
"#;

#[test]
fn the_terminal_is_what_it_was_afterwards() {
    let world = World::new();
    world.project("blog").saying("hello").push("main").succeeds();
    let config = world.config().display().to_string();
    let commis = super::support::world::commis_program();
    let script = format!(
        "stty -a | md5sum; COMMIS_CONFIG={config} {commis} run blog -- stty -icrnl; stty -a | md5sum; \
         COMMIS_CONFIG={config} {commis} run nothing -- true; stty -a | md5sum"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    let ran = at_terminal(command, "sh").ended();
    let sums: Vec<&str> = ran.stdout.lines().filter(|line| line.trim_end().ends_with(" -")).collect();
    assert!(sums.len() == 3 && sums.iter().all(|sum| *sum == sums[0]), "{ran:?}");
}

#[test]
fn verbs_that_want_no_terminal_read_well_at_one() {
    let world = World::new();
    world.project("blog").saying("hello").push("main").succeeds();
    over_ssh(&world, &["list"]).ended().succeeded().says("blog").says("cooking");
    let said = over_ssh(&world, &["show", "blog"]).ended();
    let lines = said.succeeded().stdout.matches('\n').count();
    assert_eq!(said.stdout.matches("\r\n").count(), lines, "{said:?}");
    let mut following = over_ssh(&world, &["logs", "blog", "-f"]);
    world.page("blog");
    following.until("GET /");
    following.types("\x03");
    following.ended().failed(130);
    over_ssh(&world, &["key", "add", "jane"]).ended().failed(64).says("leave out -t");
    over_ssh(&world, &[]).ended().succeeded().says("You are admin");
}
