//! Connects, and adds each connection to the reactor with the protocol of its target.

use std::cell::RefCell;
use std::iter;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::axis::Family;
use crate::codec;
use crate::driver::uring::ConnectionId;
use crate::driver::{self, Connected};
use crate::record::trial_spec::{CONNECTIONS_MAX, Knobs, LoadSpec, Place, RequestHeaders};
use crate::sys::address::Address;
use crate::sys::socket;
use crate::wire::h1::H1Client;
use crate::wire::h2::{Allowance, H2Client};
use crate::wire::raw::RawClient;
use crate::wire::zmtp::ZmtpClient;
use crate::wire::{ChangingFields, Limits, Pace, WorkerCounts};

use super::LoadError;
use super::client::LoadConnection;
use super::reactor::ClientReactor;
use super::run::Run;
use super::verify::reply_bytes_max;

/// Makes a reactor for a client. It reads even while requests wait to be sent: a server that waits
/// for its replies to be read would never read the requests.
pub fn reactor(knobs: &Knobs) -> Result<ClientReactor, LoadError> {
    let pace = driver::Options::default().send_pace;
    let options = driver::Options {
        outbox_bytes_max: usize::MAX,
        send_pace: Pace { rate_min: 0, ..pace },
        connections_max: CONNECTIONS_MAX as usize,
        drain_timeout: Duration::ZERO,
        busy_poll: knobs.busy_poll,
        counts: WorkerCounts::of_worker(),
        ..driver::Options::default()
    };
    Ok(ClientReactor::new(options, knobs.io)?)
}

/// Connects to the first address of the target at which a server listens, and returns it as well.
pub fn connect(spec: &LoadSpec, end: Instant) -> Result<(Address, Vec<OwnedFd>), LoadError> {
    let addresses = match &spec.target().url.place {
        Place::Local(address) => vec![address.clone()],
        Place::Host(host) => {
            let failed = |source| LoadError::Resolve { host: host.clone(), source };
            Address::resolve(host).map_err(failed)?
        }
    };
    let left = || {
        // A timeout of zero would be refused as a mistake.
        end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    };
    let mut failure = None;
    for (place, address) in addresses.iter().enumerate() {
        let untried = addresses.len() - place;
        match socket::connect(address, left() / untried as u32) {
            Ok(first) => {
                let others = (1..spec.connections).map(|_| socket::connect(address, left()));
                let sockets: Result<_, _> = iter::once(Ok(first)).chain(others).collect();
                return Ok((address.clone(), sockets?));
            }
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.expect("a target has an address").into())
}

pub fn start(
    reactor: &mut ClientReactor,
    spec: &LoadSpec,
    sockets: Vec<OwnedFd>,
    run: &Rc<RefCell<Run>>,
) -> Result<Vec<ConnectionId>, LoadError> {
    let mut start = |(index, socket)| Ok(reactor.adopt(socket, machine(spec, run, index))?);
    sockets.into_iter().enumerate().map(&mut start).collect()
}

/// Connects again to `address`, in place of the connection `index`.
pub fn replace(
    reactor: &mut ClientReactor,
    spec: &LoadSpec,
    address: &Address,
    run: &Rc<RefCell<Run>>,
    index: usize,
) -> Result<ConnectionId, LoadError> {
    let socket = socket::start_connect(address)?;
    Ok(reactor.adopt(socket, machine(spec, run, index))?)
}

fn machine(spec: &LoadSpec, run: &Rc<RefCell<Run>>, index: usize) -> Box<dyn Connected> {
    let share = spec.share(index as u32);
    let encoding = spec.encoding;
    let request_len = run.borrow().request_len_max();
    let body_bytes_max = reply_bytes_max(request_len);
    let limits = Limits { body_bytes_max, ..Limits::default() };
    // A successor has other fields than the connection before it.
    let number = index as u64 + run.borrow().reconnects() * u64::from(spec.connections);
    let changing = changing_fields(spec, number);
    match spec.target().url.family {
        Family::Raw => {
            let client = RawClient::new(encoding.id(), &limits);
            Box::new(LoadConnection::new(client, Rc::clone(run), index, share))
        }
        Family::Zmtp => {
            let client = ZmtpClient::new(&limits);
            Box::new(LoadConnection::new(client, Rc::clone(run), index, share))
        }
        Family::Rest => {
            let (host, path) = (spec.target().url.authority(), encoding.path());
            let client = H1Client::new(host, path, encoding.content_type(), &limits)
                .with_json_head(codec::json_head_len(encoding))
                .with_changing_fields(changing)
                .with_coding(spec.coding);
            Box::new(LoadConnection::new(client, Rc::clone(run), index, share))
        }
        Family::Grpc => {
            let (authority, content_type) =
                (spec.target().url.authority(), encoding.grpc_content_type());
            let allowance = Allowance {
                window: spec.knobs.h2_window_bytes,
                frame_bytes_max: spec.knobs.h2_frame_bytes_max,
            };
            let limits = Rc::new(limits);
            let client =
                H2Client::new(authority, encoding.grpc_path(), content_type, allowance, limits)
                    .with_changing_fields(changing)
                    .with_coding(spec.coding);
            Box::new(LoadConnection::new(client, Rc::clone(run), index, share))
        }
    }
}

/// Returns the source of the fields that differ in each request. A deadline lies behind the bound
/// of the run, so no request expires.
fn changing_fields(spec: &LoadSpec, connection: u64) -> Option<ChangingFields> {
    let indexed = match spec.knobs.headers {
        RequestHeaders::Equal => return None,
        RequestHeaders::Changing => false,
        RequestHeaders::Indexed => true,
    };
    Some(ChangingFields::new(connection, spec.timeout, indexed))
}
