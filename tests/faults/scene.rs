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
    /// In this order, so that few sessions see all modes. Lines and hooks that change data are not for mode editable: there
    /// data is not kept, and what they did stays.
    pub const ALL: [Scene; 12] = [
        Scene { mode: Mode::Cooking, shape: Shape::Migrates },
        Scene { mode: Mode::Editable, shape: Shape::Hooks },
        Scene { mode: Mode::Final, shape: Shape::Migrates },
        Scene { mode: Mode::Cooking, shape: Shape::Hooks },
        Scene { mode: Mode::Editable, shape: Shape::Web },
        Scene { mode: Mode::Final, shape: Shape::Hooks },
        Scene { mode: Mode::Cooking, shape: Shape::MigratesLate },
        Scene { mode: Mode::Cooking, shape: Shape::Web },
        Scene { mode: Mode::Cooking, shape: Shape::Static },
        Scene { mode: Mode::Editable, shape: Shape::Static },
        Scene { mode: Mode::Final, shape: Shape::Web },
        Scene { mode: Mode::Final, shape: Shape::MigratesLate },
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

    /// Whether it makes a deployment.
    pub fn deploys(self) -> bool {
        !matches!(self, Wish::Configure | Wish::PushPillar)
    }

    /// What a random user wants, with the good will of most of them.
    pub fn at_random(mode: Mode, chance: &mut Chance) -> Self {
        let total: u32 = choices(mode).iter().map(|(weight, _)| weight).sum();
        let mut at = chance.below(u64::from(total)) as u32;
        for (weight, wish) in choices(mode) {
            match at.checked_sub(weight) {
                None => return wish,
                Some(rest) => at = rest,
            }
        }
        Wish::Redeploy
    }
}

/// How many of so many want this.
pub fn choices(mode: Mode) -> Vec<(u32, Wish)> {
    let everywhere = [(1, Wish::Configure), (1, Wish::PushPillar), (2, Wish::ConfigureAndDeploy), (2, Wish::Redeploy)];
    let own = match mode {
        Mode::Cooking => COOKING,
        Mode::Editable => EDITABLE,
        Mode::Final => FINAL,
    };
    [own, &everywhere].concat()
}

const COOKING: &[(u32, Wish)] = &[
    (12, Wish::Push(Health::Good)),
    (3, Wish::Rollback),
    (3, Wish::RollbackWithData),
    (1, Wish::Push(Health::BadBuild)),
    (1, Wish::Push(Health::BadRelease)),
    (2, Wish::Push(Health::Unhealthy)),
    (2, Wish::Push(Health::BadPostDeploy)),
];

const EDITABLE: &[(u32, Wish)] = &[
    (5, Wish::Push(Health::Good)),
    (6, Wish::PushOver(Health::Good)),
    (5, Wish::Edit(Health::Good)),
    (1, Wish::Push(Health::BadBuild)),
    (1, Wish::Push(Health::Unhealthy)),
    (2, Wish::PushOver(Health::BadPostDeploy)),
    (2, Wish::PushOver(Health::Unhealthy)),
    (1, Wish::Edit(Health::Unhealthy)),
    (1, Wish::Edit(Health::BadBuild)),
];

const FINAL: &[(u32, Wish)] = &[
    (6, Wish::Promote(Health::Good)),
    (5, Wish::Push(Health::Good)),
    (4, Wish::Carry(Health::Good)),
    (3, Wish::Rollback),
    (3, Wish::RollbackWithData),
    (2, Wish::Promote(Health::Unhealthy)),
    (1, Wish::Promote(Health::BadRelease)),
    (1, Wish::Push(Health::BadPostDeploy)),
    (1, Wish::Carry(Health::Unhealthy)),
];
