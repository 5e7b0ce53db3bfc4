//! The three modes and the table that says which phase each one runs, and why not.

use super::Phase;

/// How a project is deployed. The platform gives the default; a project may override it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// Edited in place (dev).
    Editable,
    /// Built here into a release, which is then deployed (staging).
    Cooking,
    /// Deploys a ready release; never builds (prod).
    Final,
}

/// What a mode does with a phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Run,
    Skip(Because),
}

/// Why something was skipped. Terminal, records and mail say the same words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Because {
    EditedInPlace,
    ReleaseIsReady,
    /// The project declares nothing to do here.
    NothingDeclared,
    /// The project wants no backup, or none of this kind.
    NoBackupPolicy,
    /// Data as it is cannot be copied, and code goes back without.
    NoCopyPossible,
    /// Of the file system of data.
    EnoughRoom,
    CannotBeEnlarged,
    AtItsMaximum,
    /// Nothing is in `data/`, and there is no hook that dumps.
    DataIsEmpty,
    /// The policy is hooks, and there is no hook `backup`.
    NoBackupHook,
    /// There is a dump, and no hook `restore` to read it.
    NoRestoreHook,
    /// Other phases or steps were asked for.
    NotAskedFor,
}

impl Because {
    pub fn words(self) -> &'static str {
        match self {
            Because::EditedInPlace => "edited in place",
            Because::ReleaseIsReady => "release is ready",
            Because::NothingDeclared => "nothing declared",
            Because::EnoughRoom => "enough room",
            Because::CannotBeEnlarged => "cannot be enlarged",
            Because::AtItsMaximum => "at its maximum size",
            Because::NoBackupPolicy => "the project wants no backup",
            Because::NoCopyPossible => "data cannot be copied",
            Because::DataIsEmpty => "data is empty",
            Because::NoBackupHook => "no hook backup",
            Because::NoRestoreHook => "no hook restore",
            Because::NotAskedFor => "not asked for",
        }
    }
}

impl Mode {
    pub const ALL: [Mode; 3] = [Mode::Editable, Mode::Cooking, Mode::Final];

    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Editable => "editable",
            Mode::Cooking => "cooking",
            Mode::Final => "final",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }

    /// Which phases a mode runs, and why it does not run the others.
    pub fn verdict(self, phase: Phase) -> Verdict {
        match (self, phase) {
            (Mode::Editable, Phase::Bundle) => Verdict::Skip(Because::EditedInPlace),
            (Mode::Final, Phase::Build | Phase::Bundle) => Verdict::Skip(Because::ReleaseIsReady),
            (Mode::Editable, Phase::Gather | Phase::PreInstall | Phase::Configure | Phase::Build | Phase::Deploy)
            | (Mode::Cooking, _)
            | (Mode::Final, Phase::Gather | Phase::PreInstall | Phase::Configure | Phase::Deploy) => Verdict::Run,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eighteen_cells_read_as_the_design_says() {
        let table: Vec<String> = Mode::ALL
            .into_iter()
            .map(|mode| {
                let cells = Phase::ALL.map(|phase| match mode.verdict(phase) {
                    Verdict::Run => "run",
                    Verdict::Skip(because) => because.words(),
                });
                format!("{}: {}", mode.as_str(), cells.join(", "))
            })
            .collect();
        assert_eq!(
            table,
            [
                "editable: run, run, run, run, edited in place, run",
                "cooking: run, run, run, run, run, run",
                "final: run, run, run, release is ready, release is ready, run",
            ]
        );
    }
}
