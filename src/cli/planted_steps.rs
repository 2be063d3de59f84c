//! Work that `ndecho lanes --plant` adds to a layer, to show that the gate of counts finds it.

use std::fmt;
use std::str::FromStr;

use crate::axis::Layer;
use crate::probe::injected_delay::InjectedDelay;

/// Work of a known size, planted in a layer of each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlantedSteps {
    layer: Layer,
    steps: u64,
}

impl PlantedSteps {
    pub(super) fn delay(self) -> InjectedDelay {
        InjectedDelay::of_steps(self.steps, self.layer)
    }
}

impl FromStr for PlantedSteps {
    type Err = String;

    fn from_str(text: &str) -> Result<PlantedSteps, String> {
        let (layer, steps) = text.rsplit_once(':').ok_or("expected LAYER:STEPS")?;
        let layer = layer.parse().map_err(|error| format!("{error}"))?;
        let steps = steps.parse().map_err(|error| format!("steps {steps:?}: {error}"))?;
        Ok(PlantedSteps { layer, steps })
    }
}

impl fmt::Display for PlantedSteps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.layer, self.steps)
    }
}
