//! In which of the three modes a server is used, by what kind of project, and what people wish of it there. Pure.

use super::apps::{Health, Shape};
use super::chance::Chance;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Changed in place.
    Editable,
    /// Built here.
    Cooking,
    /// Cooked by another server, which no fault touches.
    Final,
}

/// A server's mode, and what is deployed to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scene {
    pub mode: Mode,
    pub shape: Shape,
}

impl Scene {
    /// In this order, so that few sessions see all modes. Release lines that change data are not for mode editable: there
    /// data is not kept, and what they did stays.
    pub const ALL: [Scene; 10] = [
        Scene { mode: Mode::Cooking, shape: Shape::Migrates },
        Scene { mode: Mode::Editable, shape: Shape::Hooks },
        Scene { mode: Mode::Final, shape: Shape::Migrates },
        Scene { mode: Mode::Cooking, shape: Shape::Hooks },
        Scene { mode: Mode::Editable, shape: Shape::Web },
        Scene { mode: Mode::Final, shape: Shape::Hooks },
        Scene { mode: Mode::Cooking, shape: Shape::Web },
        Scene { mode: Mode::Cooking, shape: Shape::Static },
        Scene { mode: Mode::Editable, shape: Shape::Static },
        Scene { mode: Mode::Final, shape: Shape::Web },
    ];

    pub fn cooking(shape: Shape) -> Self {
        Self { mode: Mode::Cooking, shape }
    }

    /// Of the nth session of an experiment.
    pub fn nth(nth: u64) -> Self {
        Self::ALL[nth as usize % Self::ALL.len()]
    }
}

/// Something that somebody wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// A new commit. In mode editable what is edited goes to a branch; in mode final it names a release that staging has.
    Push(Health),
    /// Mode editable: something is edited, and then pushed over.
    PushOver(Health),
    /// Mode editable: something is edited, and then deployed as it stands.
    Edit(Health),
    /// Mode final: what staging just cooked is asked for.
    Promote(Health),
    /// Mode final: the same, carried here as a file.
    Carry(Health),
    /// To the release before, with `data/` as it is.
    Rollback,
    /// The same, with `data/` as it was then.
    RollbackWithData,
    /// The branch once more; what stands there; the live release.
    Redeploy,
    /// A new configuration, which deploys nothing by itself.
    Configure,
    /// The same by a push to the pillar.
    PushPillar,
    /// A new configuration, deployed at once.
    ConfigureAndDeploy,
}

impl Wish {
    /// Of what is to be deployed for the first time.
    pub fn health(self) -> Health {
        match self {
            Wish::Push(health) | Wish::PushOver(health) | Wish::Edit(health) => health,
            Wish::Promote(health) | Wish::Carry(health) => health,
            Wish::Rollback | Wish::RollbackWithData | Wish::Redeploy => Health::Good,
            Wish::Configure | Wish::PushPillar | Wish::ConfigureAndDeploy => Health::Good,
        }
    }

    /// What a random user wants, with the good will of most of them.
    pub fn at_random(mode: Mode, chance: &mut Chance) -> Self {
        let total: u32 = choices(mode).iter().map(|(weight, _)| weight).sum();
        let mut at = chance.below(u64::from(total)) as u32;
        for (weight, wish) in choices(mode) {
            match at.checked_sub(*weight) {
                None => return *wish,
                Some(rest) => at = rest,
            }
        }
        Wish::Redeploy
    }
}

/// How many of so many want this.
pub fn choices(mode: Mode) -> &'static [(u32, Wish)] {
    use Health::{BadBuild, BadPostDeploy, BadRelease, Good, Unhealthy};
    match mode {
        Mode::Cooking => &[
            (12, Wish::Push(Good)),
            (1, Wish::Push(BadBuild)),
            (1, Wish::Push(BadRelease)),
            (2, Wish::Push(Unhealthy)),
            (2, Wish::Push(BadPostDeploy)),
            (3, Wish::Rollback),
            (3, Wish::RollbackWithData),
            (2, Wish::Redeploy),
            (1, Wish::Configure),
            (1, Wish::PushPillar),
            (2, Wish::ConfigureAndDeploy),
        ],
        Mode::Editable => &[
            (5, Wish::Push(Good)),
            (6, Wish::PushOver(Good)),
            (5, Wish::Edit(Good)),
            (1, Wish::Push(BadBuild)),
            (1, Wish::Push(Unhealthy)),
            (2, Wish::PushOver(BadPostDeploy)),
            (2, Wish::PushOver(Unhealthy)),
            (1, Wish::Edit(Unhealthy)),
            (1, Wish::Edit(BadBuild)),
            (2, Wish::Redeploy),
            (1, Wish::Configure),
            (1, Wish::PushPillar),
            (2, Wish::ConfigureAndDeploy),
        ],
        Mode::Final => &[
            (6, Wish::Promote(Good)),
            (5, Wish::Push(Good)),
            (4, Wish::Carry(Good)),
            (2, Wish::Promote(Unhealthy)),
            (1, Wish::Promote(BadRelease)),
            (1, Wish::Push(BadPostDeploy)),
            (1, Wish::Carry(Unhealthy)),
            (3, Wish::Rollback),
            (3, Wish::RollbackWithData),
            (2, Wish::Redeploy),
            (1, Wish::Configure),
            (1, Wish::PushPillar),
            (2, Wish::ConfigureAndDeploy),
        ],
    }
}
