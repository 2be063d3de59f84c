//! WorkerCounts in the text format of Prometheus, version 0.0.4.
//!
//! | family | labels |
//! |---|---|
//! | requests, connections, peer faults, bytes, loop | `worker` |
//! | refusals | `code`: HTTP status, or name of the gRPC status |
//! | limits | `limit`, as in the report of the server |
//! | alarms | `alarm` |
//! | memory held for peers, its peak and its limit | none |
//! | process | none; the names that all clients of Prometheus use |

use std::fmt;
use std::io;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::super::usage;
use super::Sources;
use crate::probe::process_use::{self, ProcessUse};
use crate::wire::counts::Count;
use crate::wire::{MemoryBudget, WorkerCounts};

pub(super) use prometheus_text::CONTENT_TYPE;

/// Returns the counts of a server and the use of this process.
pub(super) fn text(Sources { workers, memory }: &Sources) -> io::Result<String> {
    let (mut registry, mut text) = (Registry::default(), String::new());
    let process = process_use::read()?;
    let (workers, memory) = (workers.clone(), Arc::clone(memory));
    registry.register_collector(Box::new(Scrape { workers, memory, process }));
    prometheus_text::encode(&mut text, &registry).map_err(io::Error::other)?;
    Ok(text)
}

#[derive(Debug)]
struct Scrape {
    workers: Vec<&'static WorkerCounts>,
    memory: Arc<MemoryBudget>,
    process: ProcessUse,
}

/// Family with a value for each worker.
type OfWorker = (&'static str, &'static str, fn(&WorkerCounts) -> &Count);

const OF_WORKER: [OfWorker; 7] = [
    ("ndecho_requests", "Requests handled, well or with a refusal", |counts| &counts.requests),
    ("ndecho_jobs", "Requests with long work, done outside of the event loop", |counts| {
        &counts.jobs
    }),
    ("ndecho_connections_accepted", "Connections accepted", |counts| &counts.accepted),
    ("ndecho_connections_closed", "Connections closed; not of tonic and axum", |counts| {
        &counts.closed
    }),
    ("ndecho_peer_faults", "Connections whose peer broke the protocol or was too slow", |counts| {
        &counts.peer_faults
    }),
    ("ndecho_received_bytes", "Bytes received; not of borrowed stacks on tokio", |counts| {
        &counts.bytes_in
    }),
    ("ndecho_sent_bytes", "Bytes sent; not of borrowed stacks on tokio", |counts| {
        &counts.bytes_out
    }),
];

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, count) in OF_WORKER {
            self.by_worker(&mut encoder, (name, help, None), |counts| {
                ConstCounter::new(count(counts).get())
            })?;
        }
        let turns = ("ndecho_loop_turns", "Waits of the event loop", None);
        self.by_worker(&mut encoder, turns, |counts| ConstCounter::new(counts.loop_time().turns))?;
        let busy = ("ndecho_loop_busy", "Time outside of these waits", Some(&Unit::Seconds));
        self.by_worker(&mut encoder, busy, |counts| {
            ConstCounter::new(counts.loop_time().busy.as_secs_f64())
        })?;
        let families = [
            ("ndecho_refusals", "Refused requests", "code", usage::refusals(&self.workers)),
            ("ndecho_limits", "Limits that peers reached", "limit", usage::limits(&self.workers)),
            ("ndecho_alarms", "Events told on stderr", "alarm", usage::alarms(&self.workers)),
        ];
        for (name, help, label, values) in families {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (value, count) in values {
                let labels = [(label, value)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        self.memory(&mut encoder)?;
        self.process(&mut encoder)
    }
}

impl Scrape {
    fn memory(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, value) in [
            ("ndecho_held", "Memory held for peers", self.memory.bytes()),
            ("ndecho_held_peak", "Most memory held for peers so far", self.memory.peak_bytes()),
            ("ndecho_memory_budget", "Memory that peers may take", self.memory.bytes_max()),
        ] {
            gauge(encoder, (name, help, Some(&Unit::Bytes)), value as u64)?;
        }
        Ok(())
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let ProcessUse { rss_bytes, cpu_time, descriptors, descriptors_max } = self.process;
        let bytes = Some(&Unit::Bytes);
        gauge(encoder, ("process_resident_memory", "Resident memory", bytes), rss_bytes)?;
        gauge(encoder, ("process_open_fds", "Open descriptors", None), descriptors)?;
        gauge(encoder, ("process_max_fds", "Limit of open descriptors", None), descriptors_max)?;
        let (cpu, help) = ("process_cpu", "User and system time");
        let counter = ConstCounter::new(cpu_time.as_secs_f64());
        let unit = Some(&Unit::Seconds);
        counter.encode(encoder.encode_descriptor(cpu, help, unit, MetricType::Counter)?)
    }

    fn by_worker<M: EncodeMetric>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help, unit): (&str, &str, Option<&Unit>),
        metric: impl Fn(&WorkerCounts) -> M,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (worker, counts) in self.workers.iter().enumerate() {
            let labels = [("worker", worker.to_string())];
            metric(counts).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help, unit): (&str, &str, Option<&Unit>),
    value: u64,
) -> fmt::Result {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    gauge.encode(encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?)
}
