//! What a deployment will do, decided once from what gather saw. Pure: printed, compared and tested without a machine.

pub use super::facts::Facts;
use super::facts::Supply;
use super::phases;
use super::step::Step;
use crate::model::{Because, Mode, Phase, Verdict};
use std::fmt;

/// What happens in one phase.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PhasePlan {
    Run { phase: Phase, steps: Vec<Step> },
    Skip { phase: Phase, because: Because },
}

/// A deployment, decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    pub phases: Vec<PhasePlan>,
}

/// Decides.
pub fn plan(facts: &Facts) -> Plan {
    let phases = Phase::ALL.into_iter().map(|phase| phase_plan(facts, phase)).collect();
    Plan { phases }
}

fn phase_plan(facts: &Facts, phase: Phase) -> PhasePlan {
    // What starts from a ready release is deployed as final mode deploys, whatever the mode.
    let mode = if facts.supply == Supply::Cooked { facts.mode } else { Mode::Final };
    if let Verdict::Skip(because) = mode.verdict(phase) {
        return PhasePlan::Skip { phase, because };
    }
    let steps = match phase {
        Phase::Gather => Vec::new(),
        Phase::PreInstall => phases::pre_install(facts),
        Phase::Configure => phases::configure(facts),
        Phase::Build => phases::build(facts),
        Phase::Bundle => phases::bundle(facts),
        Phase::Deploy => phases::deploy(facts),
    };
    match steps.is_empty() && phase != Phase::Gather {
        true => PhasePlan::Skip { phase, because: Because::NothingDeclared },
        false => PhasePlan::Run { phase, steps },
    }
}

impl Plan {
    /// All steps in order, each with its phase.
    pub fn steps(&self) -> impl Iterator<Item = (Phase, Step)> + '_ {
        self.phases.iter().flat_map(|plan| match plan {
            PhasePlan::Run { phase, steps } => steps.iter().map(|step| (*phase, *step)).collect::<Vec<_>>(),
            PhasePlan::Skip { .. } => Vec::new(),
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for plan in &self.phases {
            match plan {
                PhasePlan::Skip { phase, because } => writeln!(f, "{}: skipped, {}", phase.as_str(), because.words())?,
                PhasePlan::Run { phase, steps } => {
                    writeln!(f, "{}:", phase.as_str())?;
                    for step in steps {
                        writeln!(f, "  {step}")?;
                    }
                }
            }
        }
        Ok(())
    }
}
