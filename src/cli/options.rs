//! Options of a server, from the document that describes it and the defaults.

use anyhow::{Context, bail};

use crate::driver;
use crate::probe::memory;
use crate::record::trial_spec::ServerSpec;
use crate::server::Options;
use crate::wire::Limits;

/// Makes the options of a server; what `spec` leaves open has its default.
pub(super) fn server_options(spec: &ServerSpec) -> anyhow::Result<Options> {
    let mut limits = Limits::default();
    set_size(&mut limits.body_bytes_max, spec.body_bytes_max)?;
    set_size(&mut limits.head_bytes_max, spec.head_bytes_max)?;
    set_size(&mut limits.job_bytes_min, spec.job_bytes_min)?;
    set(&mut limits.head_fields_max, spec.head_fields_max);
    set(&mut limits.head_timeout, spec.head_timeout);
    set(&mut limits.body_gap_timeout, spec.body_timeout);
    set(&mut limits.idle_timeout, spec.idle_timeout);
    set(&mut limits.window_timeout, spec.window_timeout);
    set(&mut limits.drain_grace, spec.drain_grace);
    set(&mut limits.rate_min, spec.rate_min);
    set_memory(&mut limits, spec)?;
    let mut driver = driver::Options::default();
    set(&mut driver.send_pace.gap, spec.send_timeout);
    set(&mut driver.send_pace.rate_min, spec.rate_min);
    set(&mut driver.connections_max, spec.connections_max);
    set(&mut driver.address_connections_max, spec.address_connections_max);
    set_size(&mut driver.outbox_bytes_max, spec.unsent_bytes_max)?;
    set(&mut driver.drain_timeout, spec.drain_timeout);
    set(&mut driver.busy_poll, spec.busy_poll);
    if driver.connections_max == 0 || driver.address_connections_max == 0 {
        bail!("--max-connections and --max-per-address must be at least 1");
    }
    if spec.cores.is_empty() {
        bail!("a server needs at least one core");
    }
    Ok(Options { cores: spec.cores.iter().copied().map(Some).collect(), limits, driver })
}

/// Sets the limits of memory. A body may not take more than its connection.
fn set_memory(limits: &mut Limits, spec: &ServerSpec) -> anyhow::Result<()> {
    limits.memory_bytes_max = usize::try_from(memory::usable_bytes() / 2).unwrap_or(usize::MAX);
    set_size(&mut limits.memory_bytes_max, spec.memory_bytes_max)?;
    limits.connection_bytes_max = limits.memory_bytes_max / 2;
    set_size(&mut limits.connection_bytes_max, spec.connection_bytes_max)?;
    limits.body_bytes_max = limits.body_bytes_max.min(limits.connection_bytes_max);
    Ok(())
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn set_size(field: &mut usize, value: Option<u64>) -> anyhow::Result<()> {
    if let Some(value) = value {
        *field = usize::try_from(value).context("size does not fit this machine")?;
    }
    Ok(())
}
