//! `ndecho exec`: the launcher of external servers and of the Python client.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::anyhow;
use clap::Args;

use crate::sys::affinity;

/// Becomes another program, pinned to a core, which ends together with the ladder.
#[derive(Args, Clone, Debug)]
pub struct ExecArgs {
    /// Core for it and all that it starts
    #[arg(long, value_name = "CORE")]
    cpu: Option<usize>,

    /// Program and arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl ExecArgs {
    /// Returns only on failure.
    pub fn run(&self) -> anyhow::Result<()> {
        self.cpu.map(affinity::pin).transpose()?;
        let (program, args) = self.command.split_first().expect("clap asks for one");
        let error = Command::new(program).args(args).exec();
        Err(anyhow!("cannot start {}: {error}", program.to_string_lossy()))
    }
}
