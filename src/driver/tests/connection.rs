//! The rules of a connection, without a socket.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::driver::connection::*;
use crate::driver::{Connected, Options};
use crate::sys::socket::Unread;
use crate::wire::{
    Context, LINGER_GAP, LINGER_TIME, Limit, Loan, Machine, MemoryBudget, Pace, Pool, PooledBuf,
    WireError, WorkerCounts,
};

const LONG: Duration = Duration::from_secs(300);

/// Echoes; a byte `.` finishes it, a byte `!` is a fault, a byte `L` lends a buffer for four bytes.
#[derive(Default)]
struct Scripted {
    gathers: bool,
    lend: Rc<Cell<bool>>,
    done: bool,
    quiet_until: Option<Instant>,
    idle_since: Option<Instant>,
}

impl Connected for Scripted {}

impl Machine for Scripted {
    fn receive(&mut self, input: &[u8], cx: &mut Context<'_>) -> Result<(), WireError> {
        cx.out.copy(input, cx.pool);
        self.lend.set(input.ends_with(b"L"));
        self.done = input.ends_with(b".");
        if input.ends_with(b"!") { Err(WireError::truncated("test")) } else { Ok(()) }
    }

    fn lend(&mut self, _pool: &Pool) -> Option<Loan> {
        let want = self.lend.take().then_some(4)?;
        Some(Loan { buffer: Vec::with_capacity(want).into(), want })
    }

    fn repay(&mut self, buffer: PooledBuf, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.receive(&buffer, cx)
    }

    fn end(&mut self, _cx: &mut Context<'_>) -> Result<(), WireError> {
        self.done = true;
        Ok(())
    }

    fn drain(&mut self, _cx: &mut Context<'_>) {
        self.done = true;
    }

    fn deadline(&self) -> Option<Instant> {
        self.quiet_until
    }

    fn paused(&mut self, time: Duration) {
        self.quiet_until = self.quiet_until.map(|at| at + time);
    }

    fn expire(&mut self, _cx: &mut Context<'_>) -> Result<(), WireError> {
        Err(WireError::timeout("test", "for a test"))
    }

    fn is_gathering(&self) -> bool {
        self.gathers
    }

    fn idle_since(&self) -> Option<Instant> {
        self.idle_since
    }

    fn retire(&mut self, _cx: &mut Context<'_>) {
        self.done = true;
    }

    fn finished(&self) -> bool {
        self.done
    }
}

struct Scene {
    connection: Connection,
    counts: &'static WorkerCounts,
    now: Instant,
}

impl Scene {
    fn new() -> Scene {
        Scene::with(Scripted::default())
    }

    fn with(machine: Scripted) -> Scene {
        Scene::limited(machine, &Options { outbox_bytes_max: 10, ..Options::default() })
    }

    fn limited(machine: Scripted, options: &Options) -> Scene {
        Scene::sharing(machine, options, &Pool::default())
    }

    fn sharing(machine: Scripted, options: &Options, pool: &Pool) -> Scene {
        let connection = Connection::new(Box::new(machine), options, pool);
        Scene { connection, counts: WorkerCounts::of_worker(), now: Instant::now() }
    }

    fn act(&mut self, event: impl FnOnce(&mut Connection, &mut WorkerCx)) -> &mut Scene {
        let Scene { connection, counts, now } = self;
        event(connection, &mut WorkerCx { counts, now: *now });
        self
    }

    fn feed(&mut self, input: &[u8]) -> &mut Scene {
        self.act(|connection, cx| connection.feed(input, false, cx))
    }

    fn begin_send(&mut self) -> &mut Scene {
        self.act(|connection, cx| {
            connection.batch(cx.now);
        })
    }

    fn send_all(&mut self) -> &mut Scene {
        self.act(|connection, cx| {
            let len = connection.batch(cx.now).len();
            connection.sent(len, cx);
        })
    }

    fn later(&mut self, time: Duration) -> &mut Scene {
        self.now += time;
        self.act(Connection::expire)
    }

    fn step(&mut self) -> Step {
        self.connection.step(self.now)
    }
}

#[test]
fn a_finished_connection_sends_shuts_down_lingers_and_closes() {
    let mut scene = Scene::new();
    scene.feed(b"bye.");
    assert_eq!(scene.step(), Step::Go);
    assert!(!scene.connection.wants_input());
    scene.send_all();
    assert_eq!((scene.step(), scene.step()), (Step::ShutDown, Step::Go));
    assert!(scene.connection.wants_input());
    scene.feed(b"too late").act(Connection::end);
    assert_eq!(scene.step(), Step::Close);
    let WorkerCounts { peer_faults, bytes_in, bytes_out, .. } = scene.counts;
    assert_eq!((peer_faults.get(), bytes_in.get(), bytes_out.get()), (0, 12, 4));
}

#[test]
fn lingering_ends_when_the_peer_falls_silent_and_in_any_case() {
    let mut scene = Scene::new();
    scene.feed(b"bye.").send_all().step();
    scene.later(LINGER_GAP / 2).feed(b"x").later(LINGER_GAP / 2);
    assert_eq!(
        (scene.step(), scene.connection.deadline()),
        (Step::Go, Some(scene.now + LINGER_GAP / 2))
    );
    for _ in 0..2 * LINGER_TIME.as_millis() / LINGER_GAP.as_millis() {
        scene.feed(b"x").later(LINGER_GAP / 2);
    }
    assert_eq!(scene.step(), Step::Close);
}

#[test]
fn a_fault_is_counted_once_and_its_last_word_sent() {
    let mut scene = Scene::new();
    scene.feed(b"no!");
    assert_eq!(scene.connection.pending(), 3);
    scene.send_all().act(Connection::vanish);
    assert_eq!((scene.step(), scene.counts.peer_faults.get()), (Step::Close, 1));
}

#[test]
fn a_peer_that_vanishes_with_its_reply_unsent_is_at_fault() {
    let mut scene = Scene::new();
    scene.feed(b"reply").act(Connection::vanish);
    assert_eq!((scene.step(), scene.counts.peer_faults.get()), (Step::Close, 1));
    let mut idle = Scene::new();
    idle.act(Connection::vanish);
    assert_eq!((idle.step(), idle.counts.peer_faults.get()), (Step::Close, 0));
}

#[test]
fn bytes_from_elsewhere_fill_a_loan_in_order() {
    let mut scene = Scene::new();
    scene.feed(b"L").feed(b"ab");
    assert!(scene.connection.has_loan());
    scene.feed(b"cdef");
    assert!(!scene.connection.has_loan());
    assert!(scene.connection.has_lent(), "a driver learns of a loan that was full at once");
    assert!(!scene.connection.has_lent(), "once");
    let mut slices = [std::io::IoSlice::new(&[]); 4];
    let filled = scene.connection.batch(scene.now).slices(&mut slices);
    assert_eq!(
        slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>(),
        b"Labcdef"
    );
}

#[test]
fn a_loan_that_is_out_is_the_only_one() {
    let lend = Rc::new(Cell::new(true));
    let mut scene = Scene::with(Scripted { lend: Rc::clone(&lend), ..Scripted::default() });
    scene.act(Connection::open);
    let mut loan = scene.connection.take_loan().expect("a loan");
    lend.set(true);
    scene.send_all().act(Connection::resume);
    assert!(!scene.connection.has_loan());
    loan.buffer.extend_from_slice(b"half");
    scene.act(|connection, cx| connection.received(loan, 4, cx));
    assert_eq!(scene.connection.pending(), 4);
}

#[test]
fn reading_stops_above_the_limit_and_starts_again_below_half() {
    let mut scene = Scene::new();
    scene.feed(&[b'x'; 11]);
    assert!(!scene.connection.wants_input());
    for (sent, wants) in [(1, false), (4, false), (1, true)] {
        scene.connection.batch(scene.now);
        scene.act(|connection, cx| connection.sent(sent, cx));
        assert_eq!(scene.connection.wants_input(), wants);
    }
}

#[test]
fn a_peer_that_does_not_read_is_given_up() {
    let pace = Options::default().send_pace;
    for (count, is_renewed) in [(0, false), (1, false), (100_000, true)] {
        let mut scene = Scene::new();
        scene.feed(&[b'x'; 200_000]).begin_send();
        scene.later(pace.gap / 2).act(|connection, cx| connection.sent(count, cx));
        scene.later(pace.gap / 2 + Duration::from_secs(1));
        let at_fault = u64::from(!is_renewed);
        let step = if is_renewed { Step::Go } else { Step::Close };
        assert_eq!(
            (scene.step(), scene.counts.peer_faults.get()),
            (step, at_fault),
            "{count} bytes"
        );
        scene.later(pace.gap / 2);
        assert_eq!((scene.step(), scene.counts.peer_faults.get()), (Step::Close, 1));
    }
}

#[test]
fn the_output_of_many_batches_is_one_transfer() {
    let pace = Options::default().send_pace;
    let mut scene = Scene::new();
    scene.feed(&[b'x'; 8]);
    // A byte at a time, each with a batch of its own: the peer is too slow all the same.
    for _ in 0..8 {
        scene.later(pace.gap / 6).act(|connection, cx| {
            connection.batch(cx.now);
            connection.sent(1, cx);
        });
        scene.feed(b"y");
    }
    assert_eq!((scene.step(), scene.counts.peer_faults.get()), (Step::Close, 1));
}

#[test]
fn a_machine_is_not_asked_for_its_deadline_while_nothing_is_read() {
    let quiet_until = Some(Instant::now() + LONG);
    let send_pace = Pace { gap: LONG, rate_min: 0 };
    let options = Options { outbox_bytes_max: 10, send_pace, ..Options::default() };
    let machine = Scripted { quiet_until, ..Scripted::default() };
    let mut scene = Scene::limited(machine, &options);
    scene.feed(&[b'x'; 100]).begin_send();
    for _ in 0..20 {
        scene.later(LONG / 10).act(|connection, cx| connection.sent(1, cx));
    }
    assert_eq!((scene.step(), scene.counts.peer_faults.get()), (Step::Go, 0));
    scene.send_all();
    assert_eq!(scene.connection.deadline(), quiet_until.map(|at| at + 2 * LONG));
}

#[test]
fn a_deadline_is_judged_by_the_machine() {
    let quiet_until = Some(Instant::now() + LONG);
    let mut scene = Scene::with(Scripted { quiet_until, ..Scripted::default() });
    scene.later(LONG / 2);
    assert_eq!((scene.step(), scene.connection.deadline()), (Step::Go, quiet_until));
    scene.later(LONG);
    assert_eq!((scene.step(), scene.counts.peer_faults.get()), (Step::ShutDown, 1));
}

#[test]
fn a_drain_shuts_an_idle_connection_down_and_lets_a_reply_out() {
    let mut idle = Scene::new();
    idle.act(Connection::drain);
    assert_eq!((idle.step(), idle.step()), (Step::ShutDown, Step::Go));
    idle.later(LINGER_BRIEF);
    assert_eq!(idle.step(), Step::Close);
    let mut busy = Scene::new();
    busy.feed(b"reply").act(Connection::drain);
    assert_eq!((busy.step(), busy.connection.pending()), (Step::Go, 5));
    busy.send_all();
    assert_eq!(busy.step(), Step::ShutDown);
    busy.later(LINGER_BRIEF);
    assert_eq!(busy.step(), Step::Close);
}

#[test]
fn bodies_wait_while_memory_is_tight_and_one_reads_on() {
    let pool = Pool::within(
        Arc::new(MemoryBudget::new(10_000_000, usize::MAX, 1)),
        WorkerCounts::unread(),
    );
    let held = pool.adopt(Vec::with_capacity(8_000_000));
    let scene = || {
        let machine = Scripted {
            gathers: true,
            quiet_until: Some(Instant::now() + LONG),
            ..Default::default()
        };
        let mut scene = Scene::sharing(machine, &Options::default(), &pool);
        scene.feed(b"a").send_all();
        scene
    };
    let (first, mut second, mut third) = (scene(), scene(), scene());
    assert!(first.connection.wants_input());
    let look = |scene: &mut Scene, unread| {
        scene.now = scene.connection.deadline().expect("it looks again");
        assert!(scene.connection.asks_for_unread(scene.now));
        scene.connection.note_unread(unread);
        scene.act(|connection, cx| connection.expire(cx));
        scene.connection.wants_input()
    };
    assert!(!second.connection.wants_input() && !third.connection.wants_input());
    assert!(!look(&mut second, Unread::Bytes) && !look(&mut third, Unread::Nothing));
    let turns = (0..20).take_while(|_| !look(&mut second, Unread::Bytes)).count();
    assert!((3..7).contains(&turns), "the first one stands still: {turns}");
    assert!(!look(&mut third, Unread::Nothing), "it has nothing to read");
    assert!(look(&mut third, Unread::End), "its end is noticed");
    let mut fourth = scene();
    assert!(!fourth.connection.wants_input());
    drop(held);
    assert!(look(&mut fourth, Unread::Nothing));
}

#[test]
fn an_idle_connection_that_is_retired_lingers_for_a_short_time() {
    let mut scene = Scene::new();
    scene.feed(b"a").send_all();
    scene.act(Connection::retire);
    let count = scene.counts.limits().find(|(limit, _)| *limit == Limit::IdlePlace);
    assert_eq!(count, Some((Limit::IdlePlace, 1)));
    assert!(scene.connection.is_retired());
    assert_eq!(scene.step(), Step::ShutDown, "the peer may still read its last response");
    assert!(scene.connection.wants_input());
    scene.later(LINGER_BRIEF);
    assert_eq!(scene.step(), Step::Close);
}

#[test]
fn a_place_is_kept_while_a_request_or_a_response_is_under_way() {
    let since = Instant::now();
    let mut scene = Scene::with(Scripted { idle_since: Some(since), ..Scripted::default() });
    let may_retire = |scene: &Scene, unread, has_unsent, after| {
        scene.connection.may_retire(unread, has_unsent, since + after)
    };
    let soon = Duration::from_millis(1);
    assert!(may_retire(&scene, Unread::Nothing, false, soon));
    assert!(may_retire(&scene, Unread::End, false, soon));
    assert!(!may_retire(&scene, Unread::Bytes, false, LONG));
    assert!(!may_retire(&scene, Unread::Nothing, true, LINGER_GAP - soon));
    assert!(may_retire(&scene, Unread::Nothing, true, LINGER_GAP), "nobody keeps it for ever");
    scene.feed(b"a");
    assert!(!may_retire(&scene, Unread::Nothing, false, LONG), "a response is not sent");
}
