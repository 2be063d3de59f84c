//! The document of a trial, and the command lines of its children.

use std::io::{PipeWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::array::{DType, Shape};
use crate::axis::{Family, Malloc};
use crate::codec::bound;
use crate::experiment::any_rung::AnyRung;
use crate::experiment::cell::Cell;
use crate::experiment::plan::Plan;
use crate::experiment::preset::{SEED_IN_FLIGHT, Slicing};
use crate::experiment::testbed::Testbed;
use crate::external::ExternalRung;
use crate::load::conformance;
use crate::record::trial_spec::{
    ArraySpec, Length, LoadSpec, RequestHeaders, ServerSpec, ServerUrl, TrialSpec,
};
use crate::record::{Client, Variant};
use crate::sys::address::Address;
use crate::sys::child::ChildError;
use crate::sys::malloc;

use super::process::Failure;
use super::python::PythonClient;

const MESSAGE_BYTES_MIN: u64 = 192 << 20;

/// Time after which a server may close an idle connection: longer than the load visits the other
/// servers of a launch.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

pub struct Commands<'a> {
    pub testbed: &'a Testbed,
    pub plan: &'a Plan,
}

impl Commands<'_> {
    /// Builds the document of a trial. The targets are not known before the server listens.
    pub fn document(&self, cell: &Cell, report: &Path) -> TrialSpec {
        TrialSpec { servers: vec![self.server(cell, report)], load: self.load_spec(cell) }
    }

    fn server(&self, cell: &Cell, report: &Path) -> ServerSpec {
        let server = ServerSpec {
            rung: cell.rung.to_string(),
            cores: vec![self.testbed.cpu_server],
            malloc: Some(self.malloc(cell)),
            ..ServerSpec::default()
        };
        if matches!(cell.rung, AnyRung::External(_)) {
            return server;
        }
        ServerSpec {
            listen: Some(Address::unused(cell.rung.transport())),
            is_null: cell.variant == Variant::Null,
            delay: match cell.variant {
                Variant::Delayed { ns } | Variant::Planted { ns, .. } => {
                    Some(Duration::from_nanos(ns))
                }
                _ => None,
            },
            delay_in: match cell.variant {
                Variant::Planted { layer, .. } => Some(layer),
                _ => None,
            },
            body_bytes_max: Some(message_bytes_max(cell).max(MESSAGE_BYTES_MIN)),
            idle_timeout: Some(IDLE_TIMEOUT),
            report: Some(report.to_owned()),
            ..server
        }
    }

    /// Returns the allocator of the server. Only the C library's allocations can be counted.
    fn malloc(&self, cell: &Cell) -> Malloc {
        if cell.is_counted { Malloc::Default } else { cell.malloc(self.plan.malloc) }
    }

    fn load_spec(&self, cell: &Cell) -> LoadSpec {
        let plan = self.plan;
        let own_warmup = cell.rung.warmup();
        LoadSpec {
            targets: Vec::new(),
            encoding: cell.rung.encoding(),
            array: plan.array_of(cell),
            coding: cell.coding,
            connections: cell.concurrency.connections,
            in_flight: cell.concurrency.in_flight,
            rate_hz: cell.offered_hz,
            warmup: match cell.is_counted {
                true => Length::Requests(0),
                false => Length::Time(plan.warmup.max(own_warmup)),
            },
            settle: plan.settle.map(|settle| settle + own_warmup),
            window: cell.window,
            slice_head: None,
            // Longer than this process waits, so that a slow trial is told from one that fails.
            timeout: 2 * plan.budget,
            cpu: Some(self.testbed.cpu_client),
            // Counting costs a little, as samples do.
            counts_kernel_events: cell.variant == Variant::Profiled,
            knobs: self.testbed.knobs(plan),
        }
    }

    /// Changes the load of a trial to slices of `client`. A program of others repeats one request,
    /// without a head of its slices, and sleeps while it waits.
    pub fn in_slices(&self, load: &mut LoadSpec, client: Client) {
        let Some(Slicing { slice, head }) = self.plan.slicing(client) else { return };
        load.window = Length::Time(slice);
        load.slice_head = Some(head);
        if client != Client::Own {
            load.slice_head = None;
            load.knobs.headers = RequestHeaders::Equal;
            load.knobs.busy_poll = Duration::ZERO;
        }
    }

    pub fn conformance(&self, rung: &AnyRung, load: &mut LoadSpec) {
        let body_bytes_max = rung.body_bytes_max();
        load.array = ArraySpec::Conformance { seed: self.plan.seed, body_bytes_max };
        (load.connections, load.in_flight, load.rate_hz) = (1, 1, None);
        load.warmup = Length::Requests(0);
        load.window = Length::Requests(conformance::ARRAYS as u64);
    }

    /// Returns the command for the server of `spec`. A build that is compared may be older than the
    /// document, so it gets the flags that every build has.
    pub fn serve(&self, cell: &Cell, spec: &TrialSpec) -> Result<Command, Failure> {
        let build = match cell.variant {
            Variant::Build { side, number } => {
                Some(&self.testbed.builds[side as usize][number as usize])
            }
            _ => None,
        };
        let mut command = child(build.unwrap_or(&self.testbed.program), "serve");
        malloc::set(&mut command, self.malloc(cell));
        if build.is_none() {
            return Ok(with_document(command, spec)?.0);
        }
        let server = &spec.servers[0];
        command.arg(&server.rung).args(["--cpu", &self.testbed.cpu_server.to_string()]);
        if let Some(listen) = &server.listen {
            command.args(["--addr", &listen.to_string()]);
        }
        if let Some(bytes) = server.body_bytes_max {
            command.args(["--max-message", &bytes.to_string()]);
        }
        if let Some(report) = &server.report {
            command.arg("--report").arg(report);
        }
        Ok(command)
    }

    pub fn external(&self, rung: &ExternalRung) -> Command {
        let environment =
            self.testbed.environments.path(&rung.server).expect("a cell without one is skipped");
        let mut command = self.pinned(self.testbed.cpu_server);
        command.args(rung.command(environment, self.testbed.cpu_server));
        command.current_dir(&rung.server.folder);
        malloc::set(&mut command, rung.malloc(self.plan.malloc));
        command
    }

    /// Returns the command of the load generator, and the end of its stdin that takes the commands
    /// of a load in slices.
    pub fn load(&self, spec: &TrialSpec) -> Result<(Command, PipeWriter), Failure> {
        let mut command = child(&self.testbed.program, "load");
        command.arg("--json");
        with_document(command, spec)
    }

    pub fn python(&self, client: &PythonClient, cell: &Cell, url: &ServerUrl) -> Command {
        let cpu = self.testbed.cpu_client;
        let mut command = self.pinned(cpu);
        command.arg(&client.python).arg(&client.script).arg(url.to_string());
        command.args(["--codec", cell.rung.encoding().name(), "--cpu", &cpu.to_string()]);
        command.args(["--connections", &cell.concurrency.connections.to_string()]);
        // aiohttp queues the requests that its connections cannot carry; grpcio sends all of them.
        let parallel = match cell.rung.family() {
            Family::Grpc => cell.concurrency.in_flight,
            Family::Rest | Family::Raw | Family::Zmtp => SEED_IN_FLIGHT,
        };
        let rounds = (SEED_IN_FLIGHT / parallel).max(1);
        command.args(["--parallel", &parallel.to_string(), "--rounds", &rounds.to_string()]);
        match &self.plan.array {
            Some(path) => command.arg("--array").arg(path),
            None => command.args(["--points", &cell.array.shape[0].to_string()]),
        };
        command
    }

    /// Returns the launcher of a foreign program, which pins it to core `cpu`.
    pub fn pinned(&self, cpu: usize) -> Command {
        let mut command = child(&self.testbed.program, "exec");
        command.args(["--cpu", &cpu.to_string(), "--"]);
        command
    }
}

/// Returns the length of the longest message with the array of `cell`, whatever its items are.
fn message_bytes_max(cell: &Cell) -> u64 {
    let array = &cell.array;
    let parts = (DType::parse(&array.dtype), Shape::new(&array.shape));
    let (Ok(dtype), Ok(shape)) = parts else { return array.bytes };
    bound::message_bytes_max(cell.rung.encoding(), dtype, &shape)
}

/// Returns `program` as a child that ends with this process.
fn child(program: &Path, command_name: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(command_name).args(["--die-with", &std::process::id().to_string()]);
    // A backtrace would push the message out of the lines of stderr that are kept.
    command.env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    command
}

/// Gives `command` a pipe as stdin, which holds the document: at most the 64 KiB that a pipe takes
/// at once.
fn with_document(mut command: Command, spec: &TrialSpec) -> Result<(Command, PipeWriter), Failure> {
    let pipe = std::io::pipe().and_then(|(reader, mut writer)| {
        writeln!(writer, "{}", spec.to_json())?;
        Ok((reader, writer))
    });
    let (stdin, writer) = pipe.map_err(|error| {
        let program = command.get_program().to_string_lossy().into_owned();
        Failure::from(ChildError::Spawn { program, reason: error.to_string() })
    })?;
    command.args(["--spec", "-"]).stdin(stdin);
    Ok((command, writer))
}
