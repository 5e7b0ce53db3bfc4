//! Whether a file system is enlarged, and to what. Pure; `pipeline` looks and acts.

use crate::model::Because;
use crate::system::volumes::{Device, Space, Volume};

/// As `[storage]` says. Bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Less free than this part of a hundred is low.
    pub low: u32,
    pub step: u64,
    pub max: u64,
}

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    Enlarge { to: u64 },
    Leave(Because),
}

/// Below the new size this must stay free on the file system that holds the file of a loop device.
const RESERVE: u64 = 64 << 20;

/// Little is free: of the file system, and less than one step. A large disk with a tenth free is not low.
pub fn is_low(space: &Space, rules: &Rules) -> bool {
    space.free < space.size / 100 * u64::from(rules.low) && space.free < rules.step
}

/// Decides. `own`: the file system is the project's own, mounted in its root, so that enlarging helps nobody else.
/// `below`: what is free where the file of the loop device lies.
pub fn decide(volume: &Volume, rules: &Rules, own: bool, below: Option<&Space>) -> Decision {
    let low = is_low(&volume.space, rules);
    let Device::Loop { bytes, .. } = &volume.device else {
        return Decision::Leave(if low { Because::CannotBeEnlarged } else { Because::EnoughRoom });
    };
    match (low, own) {
        (false, _) => Decision::Leave(Because::EnoughRoom),
        (true, false) => Decision::Leave(Because::CannotBeEnlarged),
        (true, true) => grown(*bytes, rules, below),
    }
}

fn grown(bytes: u64, rules: &Rules, below: Option<&Space>) -> Decision {
    let to = bytes.saturating_add(rules.step).min(rules.max);
    if to <= bytes {
        return Decision::Leave(Because::AtItsMaximum);
    }
    match below {
        Some(space) if space.free >= (to - bytes).saturating_add(RESERVE) => Decision::Enlarge { to },
        _ => Decision::Leave(Because::CannotBeEnlarged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::mount_table::{Mounted, Shown};

    const MB: u64 = 1_000_000;
    const RULES: Rules = Rules { low: 10, step: 100 * MB, max: 450 * MB };
    const PLENTY: Space = Space { size: 9_000 * MB, free: 5_000 * MB, free_inodes: None };

    fn volume(size: u64, free: u64, device: Device) -> Volume {
        let mounted = Mounted {
            point: "/p/data".into(),
            kind: "ext4".into(),
            source: "/dev/loop0".into(),
            options: "rw".into(),
            shows: Shown::default(),
        };
        Volume { mounted, space: Space { size, free, free_inodes: Some(1) }, device }
    }

    fn on_loop(size: u64, free: u64, bytes: u64) -> Volume {
        volume(size, free, Device::Loop { device: "/dev/loop0".into(), file: "/img".into(), bytes })
    }

    #[test]
    fn what_has_room_stays_as_it_is() {
        let enough = Decision::Leave(Because::EnoughRoom);
        assert_eq!(decide(&on_loop(200 * MB, 50 * MB, 200 * MB), &RULES, true, Some(&PLENTY)), enough);
        assert_eq!(decide(&volume(200 * MB, 50 * MB, Device::Other), &RULES, false, None), enough);
        // A tenth of a large disk is free, and that is ten steps.
        assert_eq!(decide(&volume(20_000 * MB, 1_900 * MB, Device::Other), &RULES, false, None), enough);
    }

    #[test]
    fn what_is_low_grows_by_a_step_up_to_the_maximum() {
        let low = |bytes: u64| decide(&on_loop(bytes, 5 * MB, bytes), &RULES, true, Some(&PLENTY));
        assert_eq!(low(200 * MB), Decision::Enlarge { to: 300 * MB });
        assert_eq!(low(400 * MB), Decision::Enlarge { to: 450 * MB });
        assert_eq!(low(450 * MB), Decision::Leave(Because::AtItsMaximum));
        assert_eq!(low(500 * MB), Decision::Leave(Because::AtItsMaximum), "never smaller");
    }

    #[test]
    fn what_is_not_ours_to_enlarge_is_said() {
        let cannot = Decision::Leave(Because::CannotBeEnlarged);
        assert_eq!(decide(&volume(200 * MB, MB, Device::Other), &RULES, true, None), cannot);
        assert_eq!(decide(&on_loop(200 * MB, MB, 200 * MB), &RULES, false, Some(&PLENTY)), cannot);
        let tight = Space { free: 120 * MB, ..PLENTY };
        assert_eq!(decide(&on_loop(200 * MB, MB, 200 * MB), &RULES, true, Some(&tight)), cannot);
        assert_eq!(decide(&on_loop(200 * MB, MB, 200 * MB), &RULES, true, None), cannot);
    }
}
