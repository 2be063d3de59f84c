//! Every driver keeps the contract of `wire::Machine` and of `driver::Service`: the same promises,
//! one test each, on every driver and every transport.
//!
//! The machine is a length-prefixed echo that lends the buffer of a large message. It is written
//! here, so that a test does not confuse a fault of a driver with a fault of a protocol.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ::tokio::io::AsyncWriteExt as _;
use socket2::Socket;
use tempfile::TempDir;

use ndecho::driver::uring::Uring;
use ndecho::driver::{
    Connected, Driver, Options, Service, Stopper, Stream, WorkerHandle, stop_signal,
};
use ndecho::sys::address::Address;
use ndecho::sys::listener::Listener;
use ndecho::sys::socket;
use ndecho::wire::{
    Context, DIRECT_BYTES_MIN, Loan, Machine, Pool, PooledBuf, WireError, WorkerCounts,
};

const PROTOCOL: &str = "frames";

/// Echoes frames of a little-endian u32 length and a body.
#[derive(Default)]
struct Frames {
    head: Vec<u8>,
    body: PooledBuf,
    body_len: Option<usize>,
    /// Length of the body that is lent.
    lent: Option<usize>,
    draining: bool,
    done: bool,
    quiet: Option<Duration>,
    last: Option<Instant>,
}

/// Length that the machine refuses with a last message.
const REFUSED: u32 = u32::MAX;

impl Frames {
    fn is_idle(&self) -> bool {
        self.head.is_empty() && self.body_len.is_none()
    }

    /// Takes a prefix of `input` and returns the rest.
    fn take<'a>(&mut self, input: &'a [u8], cx: &mut Context<'_>) -> Result<&'a [u8], WireError> {
        let Some(body_len) = self.body_len else {
            let count = (4 - self.head.len()).min(input.len());
            self.head.extend_from_slice(&input[..count]);
            if self.head.len() == 4 {
                self.start_body(cx)?;
            }
            return Ok(&input[count..]);
        };
        let count = (body_len - self.body.len()).min(input.len());
        self.body.extend_from_slice(&input[..count]);
        self.finish_body(cx);
        Ok(&input[count..])
    }

    fn start_body(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        let len = u32::from_le_bytes(self.head[..].try_into().expect("four bytes"));
        self.head.clear();
        if len == REFUSED {
            cx.out.copy(b"refused", cx.pool);
            let what = "length".to_owned();
            return Err(WireError::violation(PROTOCOL, what));
        }
        self.body = cx.pool.take(len as usize);
        self.body_len = Some(len as usize);
        self.finish_body(cx);
        Ok(())
    }

    fn finish_body(&mut self, cx: &mut Context<'_>) {
        let Some(len) = self.body_len.filter(|&len| len == self.body.len()) else {
            return;
        };
        self.body_len = None;
        cx.out.copy(&(len as u32).to_le_bytes(), cx.pool);
        let body = std::mem::take(&mut self.body);
        if len < DIRECT_BYTES_MIN {
            cx.out.copy(&body, cx.pool);
        } else {
            cx.out.push(body.into());
        }
        self.done |= self.draining;
    }
}

impl ndecho::driver::Connected for Frames {}

impl Machine for Frames {
    fn receive(&mut self, mut input: &[u8], cx: &mut Context<'_>) -> Result<(), WireError> {
        let contract = !input.is_empty() && !self.done && self.lent.is_none();
        assert!(contract, "the driver broke the contract");
        self.last = Some(cx.now);
        while !input.is_empty() && !self.done {
            input = self.take(input, cx)?;
        }
        Ok(())
    }

    fn lend(&mut self, _pool: &Pool) -> Option<Loan> {
        assert!(self.lent.is_none(), "the driver asked for a second buffer");
        let missing = self.body_len?.checked_sub(self.body.len())?;
        if missing < DIRECT_BYTES_MIN {
            return None;
        }
        let len = self.body.len();
        self.body.reserve(missing.min(len.max(64 * 1024)));
        let want = missing.min(self.body.capacity() - self.body.len());
        self.lent = Some(self.body.len());
        Some(Loan { buffer: std::mem::take(&mut self.body), want })
    }

    fn repay(&mut self, buffer: PooledBuf, cx: &mut Context<'_>) -> Result<(), WireError> {
        if self.lent.take().is_some_and(|len| buffer.len() > len) {
            self.last = Some(cx.now);
        }
        self.body = buffer;
        self.finish_body(cx);
        Ok(())
    }

    fn end(&mut self, _cx: &mut Context<'_>) -> Result<(), WireError> {
        let idle = self.is_idle();
        self.done = true;
        if idle { Ok(()) } else { Err(WireError::truncated(PROTOCOL)) }
    }

    fn drain(&mut self, _cx: &mut Context<'_>) {
        self.draining = true;
        self.done |= self.is_idle();
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.last? + self.quiet?)
    }

    fn expire(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        cx.out.copy(b"late", cx.pool);
        Err(WireError::timeout(PROTOCOL, "for a frame"))
    }

    fn finished(&self) -> bool {
        self.done
    }
}

/// Returns all input, until the peer ends or the worker drains.
struct Copying;

impl Service for Copying {
    fn serve<S: Stream>(
        &self,
        stream: S,
        worker: WorkerHandle,
    ) -> impl Future<Output = ()> + 'static {
        copy_back(stream, worker)
    }
}

async fn copy_back(stream: impl Stream, worker: WorkerHandle) {
    let (mut reader, mut writer) = ::tokio::io::split(stream);
    let copied = async {
        let _ = ::tokio::io::copy(&mut reader, &mut writer).await;
        let _ = writer.shutdown().await;
    };
    ::tokio::select! {
        () = copied => {}
        () = worker.drained() => {}
    }
}

/// Sends one byte after a delay, then ends.
struct Sleeping;

impl Service for Sleeping {
    fn serve<S: Stream>(
        &self,
        stream: S,
        worker: WorkerHandle,
    ) -> impl Future<Output = ()> + 'static {
        say_later(stream, worker)
    }
}

async fn say_later(mut stream: impl Stream, worker: WorkerHandle) {
    worker.sleep_until(Instant::now() + Duration::from_millis(30)).await;
    let _ = stream.write_all(b"!").await;
    let _ = stream.shutdown().await;
}

/// Transport that a promise is checked on.
#[derive(Clone, Copy)]
enum Transport {
    Tcp,
    Unix,
}

/// Worker on its own thread.
struct Served {
    address: Address,
    stopper: Stopper,
    worker: JoinHandle<()>,
    counts: &'static WorkerCounts,
    _folder: TempDir,
}

/// Longest time a test waits for a peer; far above what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(20);

fn serve<D: Driver>(
    on: Transport,
    options: Options,
    endpoint: impl FnOnce(Listener) -> D::Endpoint + Send + 'static,
) -> Served {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let listener = Listener::bind(&match on {
        Transport::Tcp => Address::FREE_PORT,
        Transport::Unix => Address::Unix(folder.path().join("socket")),
    });
    let listener = listener.expect("a free address");
    let address = listener.address().expect("bound");
    let (stopper, stopped) = stop_signal().expect("a socket pair");
    let counts = WorkerCounts::of_worker();
    let options = Options { counts, ..options };
    let worker = std::thread::spawn(move || {
        let driver = D::new(options, Pool::default()).expect("the driver starts");
        driver.run(vec![endpoint(listener)], stopped).expect("the driver runs");
    });
    Served { address, stopper, worker, counts, _folder: folder }
}

fn serve_frames<D: Driver>(on: Transport, options: Options) -> Served {
    serve::<D>(on, options, |listener| D::machine(listener, Frames::default))
}

impl Served {
    fn connect(&self) -> Socket {
        let stream = socket::connect(&self.address, PATIENCE).expect("listening");
        let stream = Socket::from(stream);
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    fn stop(self) -> &'static WorkerCounts {
        drop(self.stopper);
        self.worker.join().expect("the worker does not panic");
        self.counts
    }
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes()[..], body].concat()
}

/// Returns bytes that differ at every position and for every `seed`, so that a swap or a shift
/// shows.
fn body(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ seed.wrapping_mul(97)) as u8).collect()
}

fn read_exactly(stream: &mut impl Read, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("the whole reply");
    bytes
}

fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an orderly end");
    bytes
}

/// Sends on one thread and compares on the other, so that neither side waits for buffers.
fn exchange(stream: &Socket, sent: &[u8]) {
    std::thread::scope(|scope| {
        scope.spawn(|| (&mut &*stream).write_all(sent).expect("the server reads"));
        let got = read_exactly(&mut &*stream, sent.len());
        assert!(got == sent, "{} bytes came back changed", sent.len());
    });
}

fn echoes_every_size<D: Driver>(on: Transport) {
    let served = serve_frames::<D>(on, Options::default());
    let stream = served.connect();
    for (seed, len) in
        [0, 1, 8, 4095, 16 << 10, (16 << 10) + 1, 64 << 10, 100_003, 1 << 20, 9 << 20]
            .into_iter()
            .enumerate()
    {
        exchange(&stream, &frame(&body(len, seed)));
    }
    drop(stream);
    let counts = served.stop();
    assert_eq!((counts.accepted.get(), counts.peer_faults.get()), (1, 0));
    assert_eq!(counts.bytes_in.get(), counts.bytes_out.get());
}

fn keeps_the_order_of_a_pipeline_of_mixed_sizes<D: Driver>(on: Transport) {
    let served = serve_frames::<D>(on, Options::default());
    let sizes = [3, 70_000, 8, 8, 20_000, 0, 300_000, 16_384, 5];
    let all: Vec<u8> = (0..400).flat_map(|at| frame(&body(sizes[at % sizes.len()], at))).collect();
    exchange(&served.connect(), &all);
    assert_eq!(served.stop().peer_faults.get(), 0);
}

fn takes_input_in_any_pieces<D: Driver>(on: Transport) {
    let served = serve_frames::<D>(on, Options::default());
    let mut stream = served.connect();
    let sent: Vec<u8> =
        [1, 0, 40, 17_000].into_iter().flat_map(|len| frame(&body(len, 7))).collect();
    for piece in sent[..60].chunks(1).chain(sent[60..].chunks(1700)) {
        stream.write_all(piece).expect("the server reads");
    }
    assert!(read_exactly(&mut stream, sent.len()) == sent);
    served.stop();
}

fn serves_many_connections_at_once<D: Driver>(on: Transport) {
    let served = serve_frames::<D>(on, Options::default());
    let mut streams: Vec<Socket> = (0..100).map(|_| served.connect()).collect();
    for round in 0..20 {
        for (seed, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&frame(&body(round * 100 + seed, seed))).expect("the server reads");
        }
        for (seed, stream) in streams.iter_mut().enumerate() {
            let want = frame(&body(round * 100 + seed, seed));
            assert!(read_exactly(stream, want.len()) == want, "connection {seed}");
        }
    }
    drop(streams);
    assert_eq!(served.stop().accepted.get(), 100);
}

fn answers_what_came_before_a_half_close<D: Driver>(on: Transport) {
    let served = serve_frames::<D>(on, Options::default());
    let mut stream = served.connect();
    let sent = [frame(&body(50_000, 1)), frame(b"last")].concat();
    stream.write_all(&sent).expect("the server reads");
    stream.shutdown(Shutdown::Write).expect("connected");
    assert!(read_to_end(&mut stream) == sent);
    assert_eq!(served.stop().peer_faults.get(), 0);
}

fn counts_a_peer_that_vanishes_inside_a_message<D: Driver>(on: Transport) {
    let served = serve_frames::<D>(on, Options::default());
    for len in [100, 1_000_000] {
        let stream = served.connect();
        (&stream).write_all(&frame(&body(len, 3))[..len / 2]).expect("the server reads");
        stream.set_linger(Some(Duration::ZERO)).expect("a socket");
        drop(stream);
        let stream = served.connect();
        (&stream).write_all(&frame(&body(len, 3))[..len / 2]).expect("the server reads");
    }
    exchange(&served.connect(), &frame(b"others are served"));
    // The worker may not have noticed the resets yet, but a stop waits for the connections.
    assert_eq!(served.stop().peer_faults.get(), 4);
}

fn a_refused_peer_reads_the_reason_though_it_still_sends<D: Driver>(on: Transport) {
    let served = serve_frames::<D>(on, Options::default());
    let mut stream = served.connect();
    stream.write_all(&REFUSED.to_le_bytes()).expect("the server reads");
    for _ in 0..64 {
        stream.write_all(&[0; 65_536]).expect("the server throws it away");
    }
    assert_eq!(read_exactly(&mut stream, 7), b"refused");
    drop(stream);
    assert_eq!(served.stop().peer_faults.get(), 1);
}

fn a_deadline_ends_a_quiet_connection<D: Driver>(on: Transport) {
    let quiet = Some(Duration::from_millis(50));
    let served = serve::<D>(on, Options::default(), move |listener| {
        D::machine(listener, move || Frames { quiet, ..Frames::default() })
    });
    let mut cut_short = served.connect();
    cut_short.write_all(&frame(&body(200_000, 0))[..100_000]).expect("the server reads");
    let mut idle = served.connect();
    idle.write_all(&frame(b"x")).expect("the server reads");
    assert_eq!(read_to_end(&mut idle), [&frame(b"x")[..], b"late"].concat());
    assert_eq!(read_to_end(&mut cut_short), b"late");
    drop((idle, cut_short));
    assert_eq!(served.stop().peer_faults.get(), 2);
}

fn stops_reading_when_the_peer_does_not_read<D: Driver>(on: Transport) {
    let options = Options { outbox_bytes_max: 256 * 1024, ..Options::default() };
    let served = serve_frames::<D>(on, options);
    let stream = served.connect();
    stream.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    let message = frame(&body(60_000, 5));
    let mut sent = 0;
    // What fits: both directions' socket buffers, each at most some MiB, and the outbox.
    let written = loop {
        match (&stream).write(&message[sent % message.len()..]) {
            Ok(count) => sent += count,
            Err(_) => break sent,
        }
        assert!(sent < 256 << 20, "the server takes everything in");
    };
    let rest = &message[written % message.len()..];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
            (&stream).write_all(rest).expect("the server reads again");
        });
        for _ in 0..(written + rest.len()) / message.len() {
            assert!(read_exactly(&mut &stream, message.len()) == message);
        }
    });
    served.stop();
}

fn a_stop_finishes_open_work<D: Driver>(on: Transport) {
    let served = serve_frames::<D>(on, Options::default());
    let mut stream = served.connect();
    exchange(&stream, &frame(b"known to the server"));
    let sent = frame(&body(500_000, 2));
    stream.write_all(&sent[..1000]).expect("the server reads");
    std::thread::sleep(Duration::from_millis(50));
    let Served { address, stopper, worker, _folder, .. } = served;
    drop(stopper);
    std::thread::sleep(Duration::from_millis(50));
    socket::connect(&address, PATIENCE).expect_err("a stopped worker does not listen");
    stream.write_all(&sent[1000..]).expect("the server reads");
    assert!(read_to_end(&mut stream) == sent);
    worker.join().expect("the worker does not panic");
}

fn a_stop_with_idle_connections_returns_at_once<D: Driver>(on: Transport) {
    let served = serve_frames::<D>(on, Options::default());
    let streams: Vec<Socket> = (0..50).map(|_| served.connect()).collect();
    for stream in &streams {
        exchange(stream, &frame(b"hello"));
    }
    let began = Instant::now();
    served.stop();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

fn a_stop_does_not_wait_for_ever<D: Driver>(on: Transport) {
    let options = Options { drain_timeout: Duration::from_millis(100), ..Options::default() };
    let served = serve_frames::<D>(on, options);
    let mut stream = served.connect();
    exchange(&stream, &frame(b"hello"));
    stream.write_all(&frame(&body(200_000, 0))[..100_000]).expect("the server reads");
    std::thread::sleep(Duration::from_millis(30));
    let began = Instant::now();
    served.stop();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

fn further_connections_wait_for_room<D: Driver>(on: Transport) {
    let options = Options { connections_max: 2, ..Options::default() };
    let served = serve_frames::<D>(on, options);
    let first = [served.connect(), served.connect()];
    for stream in &first {
        exchange(stream, &frame(b"inside"));
    }
    let mut waiting: Vec<Socket> = (0..3).map(|_| served.connect()).collect();
    for stream in &mut waiting {
        stream.write_all(&frame(b"outside")).expect("the kernel buffers");
        stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        stream.read_exact(&mut [0]).expect_err("not served yet");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    }
    drop(first);
    for mut stream in waiting {
        assert_eq!(read_exactly(&mut stream, 11), frame(b"outside"));
    }
    assert_eq!(served.stop().peer_faults.get(), 0);
}

fn a_thousand_idle_connections_are_kept<D: Driver>(on: Transport) {
    let served = serve_frames::<D>(on, Options::default());
    let streams: Vec<Socket> = (0..1000).map(|_| served.connect()).collect();
    exchange(&streams[0], &frame(b"first"));
    exchange(&streams[999], &frame(b"last"));
    drop(streams);
    assert_eq!(served.stop().accepted.get(), 1000);
}

fn a_service_copies_a_stream<D: Driver>(on: Transport) {
    let served = serve::<D>(on, Options::default(), |listener| D::service(listener, Copying));
    let mut stream = served.connect();
    exchange(&stream, &body(1, 1));
    exchange(&stream, &body(5 << 20, 2));
    stream.write_all(b"bye").expect("the server reads");
    stream.shutdown(Shutdown::Write).expect("connected");
    assert_eq!(read_to_end(&mut stream), b"bye");
    let _idle = served.connect();
    let began = Instant::now();
    served.stop();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

fn a_service_can_sleep<D: Driver>(on: Transport) {
    let served = serve::<D>(on, Options::default(), |listener| D::service(listener, Sleeping));
    let mut streams: Vec<Socket> = (0..10).map(|_| served.connect()).collect();
    for stream in &mut streams {
        assert_eq!(read_to_end(stream), b"!");
    }
    served.stop();
}

/// One module of tests per driver and transport.
fn a_panic_while_a_connection_is_made_ends_the_worker<D: Driver>(on: Transport) {
    let faulty = || -> Frames { panic!("planted by a test") };
    let served = serve::<D>(on, Options::default(), move |listener| D::machine(listener, faulty));
    let _peer = served.connect();
    // Nobody stops it.
    served.worker.join().expect_err("a worker that takes no connections would stay");
}

/// Machine that fails at its first input, and again when it is dropped.
struct Bomb;

impl Connected for Bomb {}

impl Machine for Bomb {
    fn receive(&mut self, _: &[u8], _: &mut Context<'_>) -> Result<(), WireError> {
        panic!("planted by a test");
    }

    fn end(&mut self, _: &mut Context<'_>) -> Result<(), WireError> {
        Ok(())
    }

    fn drain(&mut self, _: &mut Context<'_>) {}

    fn finished(&self) -> bool {
        false
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("planted by a test, behind another one");
    }
}

/// On tokio a panic of a machine ends its task only.
#[test]
fn a_second_panic_at_the_end_of_a_worker_does_not_end_the_process() {
    let machine = |listener| Uring::machine(listener, || Bomb);
    let served = serve::<Uring>(Transport::Tcp, Options::default(), machine);
    let mut peer = served.connect();
    peer.write_all(b"input").expect("the kernel buffers");
    served.worker.join().expect_err("the first panic ends the worker");
}

macro_rules! on {
    ($name:ident, $driver:ty, [$($promise:ident),* $(,)?]) => {
        mod $name {
            mod tcp {
                $(#[test] fn $promise() { super::super::$promise::<$driver>(super::super::Transport::Tcp); })*
            }
            mod unix {
                $(#[test] fn $promise() { super::super::$promise::<$driver>(super::super::Transport::Unix); })*
            }
        }
    };
}

/// The same promises on every driver and transport.
macro_rules! on_every_driver {
    ($promises:tt) => {
        on!(tokio, ndecho::driver::tokio::Tokio, $promises);
        on!(uring, ndecho::driver::uring::Uring, $promises);
        on!(tokio_uring, ndecho::driver::tokio::TokioUring, $promises);
    };
}

on_every_driver!([
    echoes_every_size,
    keeps_the_order_of_a_pipeline_of_mixed_sizes,
    takes_input_in_any_pieces,
    serves_many_connections_at_once,
    answers_what_came_before_a_half_close,
    counts_a_peer_that_vanishes_inside_a_message,
    a_refused_peer_reads_the_reason_though_it_still_sends,
    a_deadline_ends_a_quiet_connection,
    stops_reading_when_the_peer_does_not_read,
    a_stop_finishes_open_work,
    a_stop_with_idle_connections_returns_at_once,
    a_stop_does_not_wait_for_ever,
    further_connections_wait_for_room,
    a_thousand_idle_connections_are_kept,
    a_service_copies_a_stream,
    a_service_can_sleep,
    a_panic_while_a_connection_is_made_ends_the_worker,
]);
