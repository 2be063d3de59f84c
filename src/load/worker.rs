//! Runs a load: makes the messages, connects, and drives the connections to the end of a window, or
//! of each slice.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::array::{DType, NdArray, Shape};
use crate::axis::DataSet;
use crate::driver::uring::ConnectionId;
use crate::probe::memory;
use crate::record::trial_spec::{ArraySpec, Length, LoadSpec};
use crate::record::{Measurement, Slice};
use crate::sys::address::Address;
use crate::sys::socket::SocketOptions;
use crate::sys::{affinity, socket};

use super::array_file::ArrayFile;
use super::message::{Body, Message};
use super::reactor::ClientReactor;
use super::run::Run;
use super::{LoadError, conformance, net};

/// Time before a request is due at which the thread stops sleeping. A sleep ends some 50 us late.
const AWAKE: Duration = Duration::from_micros(100);

/// Longest time until a stop is noticed while nothing arrives.
const STOP_LOOK: Duration = Duration::from_millis(200);

/// Length of a slice, in heads, from which the next one has no head if it held only one turn of
/// requests. A head would be such a turn as well, which takes far longer than caches stay cold.
const SLOW_HEADS: u32 = 10;

/// Just below 32 MiB, the largest threshold of glibc.
const MAPPED_BYTES: usize = 31 << 20;

/// A load with its connections. The calling thread is pinned if the document names a core.
pub struct Load {
    spec: LoadSpec,
    run: Rc<RefCell<Run>>,
    reactor: ClientReactor,
    connections: Vec<ConnectionId>,
    address: Address,
    socket: SocketOptions,
    /// The last slice was a single turn of slow requests, so the next one needs no head.
    is_slow: bool,
}

/// Measurement of a load that may have been stopped.
#[derive(Debug)]
pub struct Loaded {
    pub measured: Measurement,
    /// Requests without a reply at the stop; `None` after the whole load.
    pub unanswered: Option<u64>,
}

/// Runs one load with one window.
pub fn run(spec: &LoadSpec) -> Result<Measurement, LoadError> {
    let mut load = Load::connect(spec)?;
    load.drive(None)?;
    load.finish()
}

/// Runs one load with one window, which ends early when `stop` is raised.
pub fn run_until(spec: &LoadSpec, stop: &AtomicBool) -> Result<Loaded, LoadError> {
    let mut load = Load::connect(spec)?;
    load.drive(Some(stop))?;
    let unanswered = load.run.borrow().unanswered_at_stop();
    Ok(Loaded { measured: load.finish()?, unanswered })
}

impl Load {
    fn connect(spec: &LoadSpec) -> Result<Load, LoadError> {
        spec.check()?;
        if let Some(core) = spec.cpu {
            affinity::pin(core)?;
        }
        keep_freed_memory();
        let messages = messages(spec)?;
        let (address, sockets) = net::connect(spec, Instant::now() + spec.timeout)?;
        let socket = socket::read_back(&sockets[0])?;
        let run = Rc::new(RefCell::new(Run::new(spec, messages)?));
        let mut reactor = net::reactor(&spec.knobs)?;
        let connections = net::start(&mut reactor, spec, sockets, &run)?;
        Ok(Load { spec: spec.clone(), run, reactor, connections, address, socket, is_slow: false })
    }

    /// Connects, warms the server up, and waits until it has answered everything.
    pub fn in_slices(spec: &LoadSpec) -> Result<Load, LoadError> {
        let warmup_only = LoadSpec { window: Length::Time(Duration::ZERO), ..spec.clone() };
        let mut load = Load::connect(&warmup_only)?;
        load.drive(None)?;
        load.run.borrow_mut().forget_window()?;
        Ok(Load { spec: spec.clone(), ..load })
    }

    /// Loads the server for the head of a slice, then for the slice. Waits until everything has
    /// been answered.
    pub fn slice(&mut self) -> Result<Slice, LoadError> {
        let head = self.spec.slice_head.unwrap_or_default();
        if !head.is_zero() && !self.is_slow {
            self.window(Length::Time(head), true)?;
            self.run.borrow_mut().forget_window()?;
        }
        self.window(self.spec.window, false)?;
        let slice = self.run.borrow_mut().end_slice()?;
        let is_one_turn = slice.requests <= u64::from(self.spec.in_flight);
        self.is_slow = is_one_turn && slice.wall_ns > (SLOW_HEADS * head).as_nanos() as u64;
        Ok(slice)
    }

    fn window(&mut self, window: Length, is_head: bool) -> Result<(), LoadError> {
        self.run.borrow_mut().start_slice(window, is_head);
        for connection in &self.connections {
            self.reactor.resume(*connection);
        }
        self.drive(None)
    }

    pub fn finish(self) -> Result<Measurement, LoadError> {
        self.run.borrow_mut().end_slices();
        let is_on_poll = !self.reactor.is_ring();
        drop(self.reactor);
        let measured = self.run.borrow_mut().finish(self.socket)?;
        Ok(Measurement { is_client_on_poll: is_on_poll, ..measured })
    }

    fn drive(&mut self, stop: Option<&AtomicBool>) -> Result<(), LoadError> {
        let Load { spec, run, reactor, connections, address, .. } = self;
        let end = Instant::now() + spec.timeout;
        while !run.borrow().is_idle() {
            let ended = run.borrow_mut().take_ended();
            for index in ended {
                connections[index] = net::replace(reactor, spec, address, run, index)?;
            }
            let idle = Duration::from_nanos(reactor.counts().busy_poll_idle_ns.get());
            run.borrow_mut().set_busy_poll_idle(idle);
            let due = wake(reactor, connections, &mut run.borrow_mut());
            let look = stop.map(|_| Instant::now() + STOP_LOOK);
            reactor.turn([due, look, Some(end)].into_iter().flatten().min())?;
            let now = Instant::now();
            if stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                run.borrow_mut().stop(now);
            }
            if now >= end {
                run.borrow_mut().timed_out(spec.timeout);
            }
        }
        Ok(())
    }
}

/// Wakes an idle connection if a request of an open loop is due. Returns the time until which the
/// reactor may sleep, [`AWAKE`] before the next request.
fn wake(
    reactor: &mut ClientReactor,
    connections: &[ConnectionId],
    run: &mut Run,
) -> Option<Instant> {
    let now = Instant::now();
    let (index, due) = run.waiting(now)?;
    if due <= now {
        run.woken();
        reactor.resume(connections[index]);
        return Some(now);
    }
    Some(due.checked_sub(AWAKE).unwrap_or(due))
}

/// Makes the allocator keep freed memory. glibc returns it to the kernel beyond twice the largest
/// block that was ever mapped and freed, so large reply buffers would cost an eighth of the
/// client's time in page faults. Other allocators ignore the call.
fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(MAPPED_BYTES)));
}

/// Returns a nonce that differs from run to run, so that a cached reply is noticed.
fn nonce_base() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_micros() as u64
}

fn messages(spec: &LoadSpec) -> Result<Vec<Message>, LoadError> {
    let (base, body) = (nonce_base(), Body::from(spec.encoding));
    let message = |array| {
        let message = Message::new(body, array, base)?;
        spec.check_message(message.form.bytes.len() as u64)?;
        Ok(message)
    };
    arrays(&spec.array, body)?.into_iter().map(message).collect()
}

/// Makes the arrays that `array` describes; `body` has to be able to carry them.
pub fn arrays(array: &ArraySpec, body: Body) -> Result<Vec<NdArray>, LoadError> {
    match array {
        ArraySpec::Seeded { dtype, shape, seed } => {
            check_memory(shape.byte_len(*dtype)?)?;
            Ok(vec![NdArray::seeded(*dtype, shape.clone(), *seed)?])
        }
        ArraySpec::DataSet { name, bytes, seed } => {
            check_memory(*bytes)?;
            Ok(vec![data_set(*name, *bytes, *seed)?])
        }
        ArraySpec::File { path } => Ok(vec![read(path)?]),
        ArraySpec::Conformance { seed, body_bytes_max } => {
            Ok(conformance::arrays(body, *seed, body_bytes_max.unwrap_or(u64::MAX)))
        }
    }
}

/// Makes an array of a data set of `bytes`, rounded down to whole rows.
pub fn data_set(name: DataSet, bytes: u64, seed: u64) -> Result<NdArray, LoadError> {
    let (dtype, shape) = form_of_data_set(name, bytes)?;
    Ok(match (name, shape.dims()) {
        (DataSet::Smooth, [rows, columns]) => NdArray::smooth(*rows, *columns, seed)?,
        (DataSet::Image, [rows, columns]) => NdArray::image(*rows, *columns, seed)?,
        (DataSet::Smooth | DataSet::Image | DataSet::Random, _) => {
            NdArray::seeded(dtype, shape, seed)?
        }
    })
}

/// Returns dtype and shape of a data set: a field or an image about as high as wide, or a vector.
pub fn form_of_data_set(name: DataSet, bytes: u64) -> Result<(DType, Shape), LoadError> {
    let dtype = DType::parse(name.spec().dtype)?;
    let items = bytes / dtype.item_size() as u64;
    // The width is a power of 2, so that usual sizes are whole rows.
    let columns = 1_u64 << (items.max(1).ilog2() / 2);
    let dims = match name {
        DataSet::Smooth | DataSet::Image => vec![items / columns, columns],
        DataSet::Random => vec![items],
    };
    Ok((dtype, Shape::new(&dims)?))
}

/// Refuses an array that does not fit into memory together with its message.
fn check_memory(array_bytes: u64) -> Result<(), LoadError> {
    let (need, free) = (array_bytes.saturating_mul(2), memory::available_bytes());
    if free > 0 && need > free {
        return Err(LoadError::Memory { need_mib: need >> 20, free_mib: free >> 20 });
    }
    Ok(())
}

fn read(path: &Path) -> Result<NdArray, LoadError> {
    let file = ArrayFile::read(path)?;
    let mut scratch = Vec::new();
    let view = file.view(&mut scratch)?;
    NdArray::new(view.dtype(), view.shape().clone(), view.data().to_vec())
        .map_err(LoadError::NoArray)
}
