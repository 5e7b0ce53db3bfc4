//! Parts of a deployment that were asked for: phases and hooks by name, and what of a plan is left of them. Pure.

use super::facts::Building;
use super::plan::{PhasePlan, Plan};
use super::step::{Edit, Step};
use crate::hooks::{Hook, Who};
use crate::model::words::is_near;
use crate::model::{Because, Code, Failure, Phase};

/// What was asked for; nothing in particular is everything.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Selection {
    pub phases: Vec<Phase>,
    pub hooks: Vec<Hook>,
}

impl Selection {
    /// Reads `--only` and `--step`.
    ///
    /// # Errors
    /// `Usage` naming those that there are.
    pub fn parse(phases: &[String], hooks: &[String]) -> Result<Self, Failure> {
        let phase =
            |word: &String| Phase::parse(word).ok_or_else(|| unknown("phase", word, &Phase::ALL.map(Phase::as_str)));
        let hook = |word: &String| Hook::parse(word).ok_or_else(|| unknown("step", word, &Hook::ALL.map(Hook::name)));
        Ok(Self {
            phases: phases.iter().map(phase).collect::<Result<_, _>>()?,
            hooks: hooks.iter().map(hook).collect::<Result<_, _>>()?,
        })
    }

    pub fn is_everything(&self) -> bool {
        self.phases.is_empty() && self.hooks.is_empty()
    }

    fn takes(&self, phase: Phase, step: Step) -> bool {
        let named = matches!(step, Step::Hook(hook) if self.hooks.contains(&hook));
        named || self.phases.contains(&phase)
    }
}

fn unknown(kind: &str, word: &str, known: &[&str]) -> Failure {
    let shown = crate::notify::clean_line(word.as_bytes());
    let failure = Failure::new(Code::Usage, format!("no {kind} is called \"{shown}\""));
    let near = known.iter().find(|name| is_near(name, word));
    let failure = near.iter().fold(failure, |failure, name| failure.hint(format!("did you mean {name}?")));
    failure.hint(format!("there are: {}", known.join(", ")))
}

/// What of a plan was asked for, with the groundwork that it needs.
///
/// # Errors
/// `Refused` when nothing is left, or a hook that was named is not there.
pub fn narrow(plan: Plan, (selection, building): (&Selection, Building)) -> Result<Plan, Failure> {
    if selection.is_everything() {
        return Ok(plan);
    }
    let asked: Vec<Step> =
        plan.steps().filter(|(phase, step)| selection.takes(*phase, *step)).map(|(_, step)| step).collect();
    let absent = selection.hooks.iter().find(|hook| !asked.contains(&Step::Hook(**hook)));
    if let Some(hook) = absent {
        return Err(nothing(format!("no hook {} that could run here", hook.name())));
    }
    let does_something = |step: Step| match (step, building) {
        (Step::Compile, Building::Nothing) => false,
        (step, _) => role(step) == Role::Work,
    };
    if !asked.iter().any(|step| does_something(*step)) {
        return Err(nothing(why_nothing(&plan, selection)));
    }
    let writes = asked.iter().any(|step| writes(*step));
    let starts = asked.contains(&Step::Start);
    let keep = |phase: Phase, step: Step| match role(step) {
        Role::Ground => true,
        Role::Writing => writes,
        Role::Starting => starts,
        Role::Work => selection.takes(phase, step),
    };
    let phases = plan.phases.into_iter().map(|plan| match plan {
        PhasePlan::Run { phase, steps } => {
            let was_empty = steps.is_empty();
            let steps: Vec<Step> = steps.into_iter().filter(|step| keep(phase, *step)).collect();
            match steps.is_empty() && !was_empty {
                true => PhasePlan::Skip { phase, because: Because::NotAskedFor },
                false => PhasePlan::Run { phase, steps },
            }
        }
        skipped => skipped,
    });
    Ok(Plan { phases: phases.collect() })
}

/// What a step is there for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Needed by every other one.
    Ground,
    /// Needed by those that write.
    Writing,
    /// Needed when processes start.
    Starting,
    Work,
}

fn role(step: Step) -> Role {
    match step {
        Step::PrepareDirectories | Step::WipeBuild => Role::Ground,
        Step::Edit(Edit::Snapshot) | Step::Edit(Edit::ListBuilt) => Role::Writing,
        Step::Enlarge | Step::Edit(Edit::Describe) | Step::Edit(Edit::Stay) | Step::FixPermissions => Role::Starting,
        _ => Role::Work,
    }
}

/// Whether a step writes into the tree.
fn writes(step: Step) -> bool {
    match step {
        Step::Compile | Step::Edit(Edit::Apply) => true,
        Step::Hook(hook) => hook.runs_as() == Who::BuildUser,
        _ => false,
    }
}

fn why_nothing(plan: &Plan, selection: &Selection) -> String {
    let why = |phase: &Phase| {
        let because = plan.phases.iter().find_map(|plan| match plan {
            PhasePlan::Skip { phase: skipped, because } if skipped == phase => Some(*because),
            PhasePlan::Skip { .. } | PhasePlan::Run { .. } => None,
        });
        match (phase, because) {
            (Phase::Gather, _) => "gather only looks".to_owned(),
            (phase, because) => {
                format!("{}: {}", phase.as_str(), because.unwrap_or(Because::NothingDeclared).words())
            }
        }
    };
    selection.phases.iter().map(why).collect::<Vec<_>>().join("; ")
}

fn nothing(why: String) -> Failure {
    Failure::new(Code::Refused, format!("nothing was run: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    fn plan() -> Plan {
        let run = |phase, steps: &[Step]| PhasePlan::Run { phase, steps: steps.to_vec() };
        Plan {
            phases: vec![
                run(Phase::Gather, &[]),
                run(Phase::PreInstall, &[Step::PrepareDirectories, Step::WipeBuild, Step::Edit(Edit::Snapshot)]),
                PhasePlan::Skip { phase: Phase::Configure, because: Because::NothingDeclared },
                run(Phase::Build, &[Step::Compile, Step::Hook(Hook::PostBuild)]),
                PhasePlan::Skip { phase: Phase::Bundle, because: Because::EditedInPlace },
                run(
                    Phase::Deploy,
                    &[
                        Step::Edit(Edit::ListBuilt),
                        Step::Edit(Edit::Describe),
                        Step::Edit(Edit::Stay),
                        Step::Start,
                        Step::Hook(Hook::PostDeploy),
                    ],
                ),
            ],
        }
    }

    fn left(phases: &[&str], hooks: &[&str]) -> Result<String, String> {
        let selection = Selection::parse(&words(phases), &words(hooks)).map_err(|failure| failure.what)?;
        let plan = narrow(plan(), (&selection, Building::Runs)).map_err(|failure| failure.what)?;
        Ok(plan.steps().map(|(_, step)| step.name()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_phase_brings_the_groundwork_that_it_needs_and_nothing_else() {
        assert_eq!(
            left(&["build"], &[]).unwrap(),
            "prepare-directories wipe-build snapshot compile post_build list-built"
        );
        assert_eq!(left(&["deploy"], &[]).unwrap(), "prepare-directories wipe-build describe stay start post_deploy");
        assert_eq!(left(&[], &["post_deploy"]).unwrap(), "prepare-directories wipe-build post_deploy");
        assert_eq!(
            left(&[], &["post_build"]).unwrap(),
            "prepare-directories wipe-build snapshot post_build list-built"
        );
        assert_eq!(left(&[], &[]).unwrap(), plan().steps().map(|(_, s)| s.name()).collect::<Vec<_>>().join(" "));
    }

    #[test]
    fn a_run_that_would_run_nothing_is_an_error_that_says_why() {
        assert_eq!(left(&["bundle"], &[]).unwrap_err(), "nothing was run: bundle: edited in place");
        assert_eq!(
            left(&["configure", "pre_install"], &[]).unwrap_err(),
            "nothing was run: configure: nothing declared; pre_install: nothing declared"
        );
        assert_eq!(left(&["gather"], &[]).unwrap_err(), "nothing was run: gather only looks");
        let compile = Plan { phases: vec![PhasePlan::Run { phase: Phase::Build, steps: vec![Step::Compile] }] };
        let build = Selection::parse(&words(&["build"]), &[]).unwrap();
        assert!(narrow(compile.clone(), (&build, Building::Nothing)).is_err());
        assert!(narrow(compile, (&build, Building::Runs)).is_ok());
        assert_eq!(left(&["build"], &["upgrade"]).unwrap_err(), "nothing was run: no hook upgrade that could run here");
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_that_there_are() {
        let failure = Selection::parse(&words(&["biuld"]), &[]).unwrap_err();
        assert_eq!(failure.code, Code::Usage);
        assert_eq!(failure.hints[0], "did you mean build?");
        assert_eq!(failure.hints[1], "there are: gather, pre_install, configure, build, bundle, deploy");
        let failure = Selection::parse(&[], &words(&["x\u{1b}"])).unwrap_err();
        assert!(!failure.what.contains('\u{1b}') && failure.hints.len() == 1, "{failure:?}");
    }
}
