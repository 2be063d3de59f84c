//! Checks before the first trial, so that no rung is blamed for a fault of this machine.

use std::fs;

use anyhow::Context;

use crate::driver::uring::ring::KernelRing;
use crate::external::client::Client;

use super::plan::Plan;
use super::testbed::Testbed;

/// Bytes that must fit on the disk of the records.
const ROOM_BYTES: usize = 1024 * 1024;

pub(super) fn check(testbed: &Testbed, plan: &Plan) -> anyhow::Result<()> {
    let path = testbed.out.join("room");
    let written = fs::write(&path, vec![0; ROOM_BYTES]);
    // A part of the file may be there after an error.
    let removed = fs::remove_file(&path);
    written.and(removed).with_context(|| {
        format!("{}: no room for the records; free some space", testbed.out.display())
    })?;
    if plan.client != Client::Python {
        KernelRing::open().context("the load generator cannot run")?;
    }
    Ok(())
}
