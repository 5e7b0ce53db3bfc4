//! The user database that a job sees: the machine's, plus one name for the job's own number. Pure.

use crate::system::{Identity, UserIds};

/// `/etc/passwd` with one more user. Lines of the machine with the same name or number give way.
pub fn passwd(machine: &str, identity: &Identity, user: UserIds) -> String {
    let mut text = without(machine, &identity.name, user.uid);
    let home = identity.home.display();
    text.push_str(&format!("{}:x:{}:{}::{home}:/bin/sh\n", identity.name, user.uid, user.gid));
    text
}

/// `/etc/group` with one more group.
pub fn group(machine: &str, identity: &Identity, user: UserIds) -> String {
    let mut text = without(machine, &identity.name, user.gid);
    text.push_str(&format!("{}:x:{}:\n", identity.name, user.gid));
    text
}

/// A name or home that would break the format.
pub fn is_plain(identity: &Identity) -> bool {
    let plain = |text: &str| !text.contains([':', '\n', '\0']);
    !identity.name.is_empty() && plain(&identity.name) && identity.home.to_str().is_some_and(plain)
}

fn without(machine: &str, name: &str, number: u32) -> String {
    let other = |line: &&str| {
        let mut fields = line.split(':');
        let (first, third) = (fields.next(), fields.nth(1));
        first != Some(name) && third != Some(number.to_string().as_str())
    };
    machine.lines().filter(other).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_has_a_name_and_the_machines_users_stay() {
        let blog = Identity { name: "blog".into(), home: "/srv/projects/blog/run".into() };
        let machine = "root:x:0:0:root:/root:/bin/bash\nblog:x:1000:1000::/home/blog:/bin/sh\nold:x:20001:1::/:/x";
        let text = passwd(machine, &blog, UserIds::of(20001));
        assert_eq!(text, "root:x:0:0:root:/root:/bin/bash\nblog:x:20001:20001::/srv/projects/blog/run:/bin/sh\n");
        assert_eq!(group("adm:x:4:", &blog, UserIds::of(7)), "adm:x:4:\nblog:x:7:\n");
    }

    #[test]
    fn a_home_that_would_add_a_line_is_not_plain() {
        let home = |text: &str| Identity { name: "blog".into(), home: text.into() };
        assert!(is_plain(&home("/srv/blog")));
        assert!(!is_plain(&home("/srv/x\nroot::0:0::/:/bin/sh")));
        assert!(!is_plain(&home("/srv/a:b")));
    }
}
