//! Who may still stop a deployment: anybody before the switch, nobody after it.

use super::Verdict;
use crate::model::DeploymentNumber;
use crate::notify::DeploymentLog;
use crate::sandbox::Cancel;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// The handle that doors hold on a deployment; cheap to clone. Dropping it stops nothing.
#[derive(Clone)]
pub struct Handle {
    pub number: DeploymentNumber,
    pub log: DeploymentLog,
    pub control: Control,
    pub verdict: watch::Receiver<Option<Verdict>>,
}

impl Handle {
    /// Waits for the end. `None` when the server stops first.
    pub async fn wait(&mut self) -> Option<Verdict> {
        self.verdict.wait_for(Option::is_some).await.ok().and_then(|verdict| verdict.clone())
    }
}

/// Cancels before the switch.
#[derive(Clone, Default)]
pub struct Control {
    cancel: Cancel,
    gate: Arc<Mutex<Gate>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Gate {
    #[default]
    Open,
    Cancelled,
    /// The switch has begun: from here it runs to its end.
    Passed,
}

/// Too late: the switch has begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PastTheSwitch;

/// It was cancelled before it came to its switch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WasCancelled;

impl Control {
    /// # Errors
    /// [`PastTheSwitch`] when it runs to its end anyway.
    pub fn cancel(&self) -> Result<(), PastTheSwitch> {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if *gate == Gate::Passed {
            return Err(PastTheSwitch);
        }
        *gate = Gate::Cancelled;
        self.cancel.cancel();
        Ok(())
    }

    /// Called right before the switch: from here on nobody cancels.
    ///
    /// # Errors
    /// [`WasCancelled`] when somebody was quicker.
    pub fn pass_the_gate(&self) -> Result<(), WasCancelled> {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if *gate == Gate::Cancelled {
            return Err(WasCancelled);
        }
        *gate = Gate::Passed;
        Ok(())
    }

    /// What scripts and waits watch.
    pub fn token(&self) -> &Cancel {
        &self.cancel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_before_the_switch_stops_it_and_one_after_is_too_late() {
        let control = Control::default();
        assert_eq!(control.cancel(), Ok(()));
        assert_eq!(control.pass_the_gate(), Err(WasCancelled));
        let control = Control::default();
        assert_eq!(control.pass_the_gate(), Ok(()));
        assert_eq!(control.cancel(), Err(PastTheSwitch));
    }
}
