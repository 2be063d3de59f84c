//! One run: a server or a client on the simulated kernel, its peers, and the laws.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::super::super::acceptor::ConnectionFactory;
use super::super::super::reactor::Reactor;
use super::super::super::ring::Ring;
use super::brain::{Brain, Calling, Echoing, Reflecting};
use super::chance::{Chance, Fault};
use super::echo::{Asking, Echo, echo};
use super::jobs::SlowReflect;
use super::kernel::SimKernel;
use super::laws;
use super::memory;
use super::peer::{Manner, Peer};
use super::world::{SimListener, SimSocket, SimStop, World};
use crate::axis::{Encoding, Family};
use crate::codec;
use crate::driver::{Connected, Options, Service as _};
use crate::service::codecs::CodecSet;
use crate::service::echo::EchoService;
use crate::service::handler::EchoHandler;
use crate::stack::hyper::Hyper;
use crate::wire::h1::{DateClock, H1, H1Client};
use crate::wire::h2::{Allowance, H2, H2Client};
use crate::wire::raw::{Raw, RawClient};
use crate::wire::{DIRECT_BYTES_MIN, Limits, Pool, WorkerCounts};

/// Time after which every peer has been served or given up.
const LATE: Duration = Duration::from_secs(3600);

const JOB_BYTES_MIN: usize = 100;

const ARRIVALS_NS: usize = 200_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stack {
    /// Machine of this simulator that lends buffers all the time.
    Echo,
    /// Task on the byte stream for borrowed stacks.
    Task,
    Raw,
    H1,
    H2,
    Hyper,
    /// Connections that the reactor has been given, as a client.
    Adopted,
}

const STACKS: [Stack; 7] =
    [Stack::Echo, Stack::Task, Stack::Raw, Stack::H1, Stack::H2, Stack::Hyper, Stack::Adopted];

impl Stack {
    /// Returns true if the protocol gives up a peer that sends nothing.
    pub(super) fn has_deadlines(self) -> bool {
        matches!(self, Stack::Raw | Stack::H1 | Stack::H2)
    }
}

/// End of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Stopped while peers are served.
    Early,
    /// Stopped after all peers.
    Late,
    /// Dropped in the middle.
    Dropped,
}

pub(super) struct Plan {
    pub(super) stack: Stack,
    /// Length from which the work on a message is long.
    job_bytes_min: usize,
    pub(super) end: End,
    pub(super) options: Options,
}

/// Findings of a run, and numbers for the summary.
#[derive(Default)]
pub(in super::super) struct Outcome {
    pub(in super::super) problems: Vec<String>,
    pub(in super::super) faults: Vec<u64>,
    pub(in super::super) answers: u64,
    pub(in super::super) virtual_time: Duration,
    pub(in super::super) trace: u64,
}

/// Runs the scenario of `seed`.
pub(in super::super) fn run(seed: u64) -> Outcome {
    memory::reset();
    let world = Rc::new(RefCell::new(World::new(seed)));
    let plan = plan(seed, &mut world.borrow_mut().chance);
    let mut outcome = Outcome::default();
    let mut has_stopped = false;
    match catch_unwind(AssertUnwindSafe(|| serve(&plan, &world))) {
        Ok(ended) => {
            outcome.problems.extend(ended.problem);
            has_stopped = ended.has_stopped;
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            outcome.problems.push(format!("panicked: {}", text.unwrap_or("without a text")));
        }
    }
    let pinned = memory::pinned();
    let freed = memory::reset();
    if freed > 0 {
        outcome.problems.push(format!("{freed} blocks were freed under operations in flight"));
    }
    let mut world = world.borrow_mut();
    if outcome.problems.is_empty() {
        world.let_peers_finish();
        if has_stopped {
            outcome.problems.extend(laws::of_server(&plan, &world));
        }
        outcome.problems.extend(laws::after(&plan, &world));
        if pinned > 0 {
            outcome.problems.push(format!("{pinned} ranges are still in flight"));
        }
    }
    outcome.problems.append(&mut world.violations);
    outcome.faults = world.chance.counts.to_vec();
    outcome.answers = laws::answers(&world);
    outcome.virtual_time = Duration::from_nanos(world.time);
    outcome.trace = world.trace;
    outcome
}

fn plan(seed: u64, chance: &mut Chance) -> Plan {
    let end = match chance.below(8) {
        0 => End::Dropped,
        1..4 => End::Early,
        _ => End::Late,
    };
    let outbox_bytes_max = [2000, 20_000, 4 << 20][chance.below(3)];
    let connections_max = chance.up_to(12);
    let busy_poll = Duration::from_micros([0, 0, 20][chance.below(3)]);
    let counts = WorkerCounts::of_worker();
    let turn_bytes_max = [200, 2000, 128 << 10][chance.below(3)];
    let options = Options {
        outbox_bytes_max,
        connections_max,
        turn_bytes_max,
        busy_poll,
        counts,
        ..Options::default()
    };
    let stack = STACKS[seed as usize % STACKS.len()];
    let has_jobs = (seed as usize / STACKS.len()).is_multiple_of(2);
    let job_bytes_min = if has_jobs { JOB_BYTES_MIN } else { usize::MAX };
    Plan { stack, job_bytes_min, end, options }
}

/// State of the reactor before its drop.
#[derive(Default)]
struct Ended {
    problem: Option<String>,
    /// True for a server that served until the signal to stop.
    has_stopped: bool,
}

/// Runs the reactor to its end.
fn serve(plan: &Plan, world: &Rc<RefCell<World>>) -> Ended {
    let kernel = SimKernel::new(world, plan.options.connections_max);
    let ring = Ring::on(kernel).expect("a simulated ring");
    // A reactor that panics is not dropped: that would run it again.
    let pool = Pool::default();
    let reactor = Reactor::on(ring, plan.options.clone(), pool.clone());
    let mut reactor = ManuallyDrop::new(reactor);
    let ended = if plan.stack == Stack::Adopted {
        adopt(plan, world, &mut reactor)
    } else {
        listen(plan, world, &pool, &mut reactor)
    };
    drop(ManuallyDrop::into_inner(reactor));
    ended
}

fn listen(
    plan: &Plan,
    world: &Rc<RefCell<World>>,
    pool: &Pool,
    reactor: &mut Reactor<SimKernel>,
) -> Ended {
    add_peers(plan, &mut world.borrow_mut());
    let origin = world.borrow().instant();
    reactor.serve(SimListener(Rc::clone(world)), factory(plan, pool, origin));
    if plan.end == End::Dropped {
        let turns = world.borrow_mut().chance.below(60);
        for _ in 0..turns {
            let soon = world.borrow().instant() + Duration::from_millis(1);
            reactor.turn(Some(soon)).expect("no enter fails for good");
        }
        return Ended::default();
    }
    world.borrow_mut().stop_at = match plan.end {
        End::Early => world.borrow_mut().chance.up_to(2 * ARRIVALS_NS) as u64,
        _ => LATE.as_nanos() as u64,
    };
    reactor.run(&SimStop).expect("no enter fails for good");
    let mut world = world.borrow_mut();
    world.ended_at = world.time;
    let is_over = laws::is_drained(plan, &world) || plan.end == End::Late;
    let problem = if is_over { laws::leftovers(&reactor.leftovers()) } else { None };
    Ended { problem, has_stopped: true }
}

fn factory(plan: &Plan, pool: &Pool, origin: Instant) -> ConnectionFactory {
    let limits = Limits { job_bytes_min: plan.job_bytes_min, ..Limits::default() };
    let codecs = CodecSet::none().with_implementation(&SlowReflect);
    let service = EchoService::new(codecs, limits.clone(), pool.clone());
    let limits = Rc::new(limits);
    let machine = |make: Rc<dyn Fn() -> Box<dyn Connected>>| ConnectionFactory::Machine(make);
    let handler = |family| EchoHandler::new(family, service.clone());
    match plan.stack {
        Stack::Echo | Stack::Adopted => machine(Rc::new(|| Box::new(Echo::default()))),
        Stack::Task => ConnectionFactory::Service(Rc::new(|stream, _| Box::pin(echo(stream)))),
        Stack::Raw => {
            let handler = handler(Family::Raw);
            machine(Rc::new(move || Box::new(Raw::new(handler.clone(), Rc::clone(&limits)))))
        }
        Stack::H1 => {
            let (handler, clock) = (handler(Family::Rest), DateClock::new(origin, LATE));
            let make = move || H1::new(handler.clone(), Rc::clone(&limits), clock.clone());
            machine(Rc::new(move || Box::new(make())))
        }
        Stack::H2 => {
            let handler = handler(Family::Grpc);
            machine(Rc::new(move || Box::new(H2::new(handler.clone(), Rc::clone(&limits)))))
        }
        Stack::Hyper => {
            let hyper = Hyper::new(service);
            let serve = move |stream, worker| Box::pin(hyper.serve(stream, worker)) as _;
            ConnectionFactory::Service(Rc::new(serve))
        }
    }
}

fn add_peers(plan: &Plan, world: &mut World) {
    let count = world.chance.up_to(10);
    for number in 0..count {
        let brain = brain(plan.stack, number, &mut world.chance);
        let manner = manner(plan.stack, &mut world.chance);
        let must_stall = plan.stack == Stack::Task && matches!(manner, Manner::StopReading(_));
        let room = [300, 5000, 60_000][if must_stall { 0 } else { world.chance.below(3) }];
        let at = world.chance.up_to(ARRIVALS_NS) as u64;
        world.peers.push(Peer::new(brain, manner, room, at));
    }
}

fn manner(stack: Stack, chance: &mut Chance) -> Manner {
    let most = [50, 3000][chance.below(2)];
    let after = chance.below(most);
    let deadlines = stack.has_deadlines() || stack == Stack::Hyper;
    // Hyper takes the end of its peer's side for the end of the connection, by default.
    let answers_half_closed = stack != Stack::Hyper;
    if chance.strikes(Fault::Vanish) {
        Manner::Vanish(after)
    } else if chance.strikes(Fault::HalfClose) {
        let is_whole = chance.is_one_in(2) && answers_half_closed;
        if is_whole { Manner::HalfClose } else { Manner::Cut(after) }
    } else if deadlines && chance.strikes(Fault::Silence) {
        Manner::Silent(after)
    } else if chance.strikes(Fault::StopReading) {
        Manner::StopReading(after)
    } else if chance.strikes(Fault::SlowPeer) {
        Manner::Slow
    } else if deadlines && chance.strikes(Fault::Stay) {
        Manner::Stay
    } else {
        Manner::Good
    }
}

fn brain(stack: Stack, number: usize, chance: &mut Chance) -> Box<dyn Brain> {
    let limits = Limits::default();
    let encoding = Encoding::Reflect;
    let in_flight_max = chance.up_to(6);
    match stack {
        Stack::Echo | Stack::Task | Stack::Adopted => {
            // A task has no deadline. More must be unread than the peer's socket holds.
            let len = if stack == Stack::Task { 3500 } else { 0 } + chance.up_to(5500);
            // The machine keeps the end of a script until its peer ends.
            Box::new(Echoing::new(content(number, len), stack == Stack::Task))
        }
        Stack::Raw => {
            let client = RawClient::new(encoding.id(), &limits);
            Box::new(Calling::new(client, bodies(number, chance), in_flight_max))
        }
        Stack::H1 | Stack::Hyper => {
            let client = H1Client::new("sim", encoding.path(), encoding.content_type(), &limits)
                .with_json_head(codec::json_head_len(encoding));
            Box::new(Calling::new(client, bodies(number, chance), 1))
        }
        Stack::H2 => {
            let content_type = encoding.grpc_content_type();
            let limits = Rc::new(limits);
            let client = H2Client::new(
                "sim",
                encoding.grpc_path(),
                content_type,
                Allowance::default(),
                limits,
            );
            Box::new(Calling::new(client, bodies(number, chance), in_flight_max))
        }
    }
}

fn bodies(number: usize, chance: &mut Chance) -> Vec<Vec<u8>> {
    let count = chance.up_to(8);
    let body = |at| {
        let len = match chance.below(20) {
            0 => DIRECT_BYTES_MIN + chance.below(20_000),
            1..6 => chance.below(5000),
            _ => chance.below(200),
        };
        content(number * 100 + at, len)
    };
    (0..count).map(body).collect()
}

fn content(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| ((at * 31) ^ (at >> 8) ^ (number * 97)) as u8).collect()
}

/// Connections of a client, each asked by its number to send something; some are asked after their
/// end, which must reach nobody.
fn adopt(plan: &Plan, world: &Rc<RefCell<World>>, reactor: &mut Reactor<SimKernel>) -> Ended {
    let mut asked = Vec::new();
    let strangers = Rc::new(Cell::new(0));
    let rounds = world.borrow_mut().chance.up_to(60);
    for _ in 0..rounds {
        if reactor.connections() < plan.options.connections_max {
            let (fd, permits) = (connect(&mut world.borrow_mut()), Rc::new(Cell::new(0)));
            let socket = SimSocket { fd, world: Rc::clone(world) };
            let calls = world.borrow_mut().chance.below(6);
            let machine = Asking::new(Rc::clone(&permits), Rc::clone(&strangers), calls);
            let id = reactor.adopt(socket, Box::new(machine)).expect("few connections");
            asked.push((id, permits));
        }
        let (id, permits) = &asked[world.borrow_mut().chance.below(asked.len())];
        permits.set(permits.get() + 1);
        reactor.resume(*id);
        let soon = world.borrow().instant() + Duration::from_millis(1);
        reactor.turn(Some(soon)).expect("no enter fails for good");
    }
    let end = world.borrow().instant() + LATE;
    while plan.end != End::Dropped && reactor.connections() > 0 && world.borrow().instant() < end {
        for (id, permits) in &asked {
            permits.set(permits.get() + 1);
            reactor.resume(*id);
        }
        reactor.turn(Some(end)).expect("no enter fails for good");
    }
    let problem = match strangers.get() {
        0 if plan.end == End::Dropped => None,
        0 => laws::leftovers(&reactor.leftovers()),
        count => Some(format!("{count} requests reached another connection")),
    };
    Ended { problem, has_stopped: false }
}

fn connect(world: &mut World) -> i32 {
    let room = [300, 5000][world.chance.below(2)];
    let manner = if world.chance.strikes(Fault::Vanish) {
        Manner::Vanish(world.chance.below(500))
    } else {
        Manner::Good
    };
    let time = world.time;
    world.peers.push(Peer::new(Box::new(Reflecting::default()), manner, room, time));
    world.open(world.peers.len() - 1)
}
