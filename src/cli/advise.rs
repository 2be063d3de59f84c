//! `ndecho advise`: which server and encoding for an array, and a server and a client that work.
//!
//! The candidates are measured first, or a record of them is read. Every figure of the advice comes
//! from that record, which the output names.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{anyhow, bail, ensure};
use clap::{Args, ValueEnum as _};

use crate::array::DType;
use crate::axis::{Family, Rung};
use crate::cli::interrupt::Interrupt;
use crate::cli::measure::{self, TestbedArgs, header, now_unix_s};
use crate::cli::output::{Failure, print, tell, width};
use crate::cli::progress::Analysis;
use crate::cli::run_folder::{read, read_named};
use crate::cli::shell::{quoted, quoted_path};
use crate::cli::snippets::{self, server, usual_address};
use crate::cli::values;
use crate::experiment::advice::{self as plans, Source};
use crate::experiment::plan::Plan;
use crate::experiment::records::Records;
use crate::experiment::session::Totals;
use crate::experiment::testbed::Testbed;
use crate::ladder::select::select;
use crate::probe::memory;
use crate::record::trial_spec::{CONNECTIONS_MAX, RATE_HZ_MAX};
use crate::record::{ArrayInfo, Line};
use crate::report::aggregate::is_resolved;
use crate::report::answer::advice::clients::{Language, SourceFile};
use crate::report::answer::advice::{self, Advice, Choice, Limit, NoAdvice, Question};
use crate::report::{Run, forecast, units};

/// Name of the runs in their records.
const PRESET: &str = "advise";

/// Quantile that a rate without a limit of the latency gets requests for.
const USUAL_QUANTILE: f64 = 0.99;

/// Measures which server and encoding are the cheapest for an array, and prints a server and a
/// client that work.
#[derive(Args, Clone, Debug)]
pub struct AdviseArgs {
    /// Array in a .npy file
    #[arg(long, value_name = "FILE.npy", conflicts_with_all = ["dtype", "shape"])]
    array: Option<PathBuf>,

    /// Item type of the array, e.g. f4 or uint8
    #[arg(long, requires = "shape", value_parser = dtype)]
    dtype: Option<DType>,

    /// Dimensions of the array, e.g. 100000,32; "" for a scalar
    #[arg(long, value_name = "DIMS", requires = "dtype")]
    shape: Option<String>,

    /// Clients that call at the same time: connections with one request in flight on each
    /// [default: 8; 1 for an array above 4 MiB]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX)))]
    clients: Option<u32>,

    /// Requests per second of all clients together; cost and latency are then those at this rate
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,

    /// Highest latency, e.g. p99=5ms; a candidate above it is not chosen. Without --rate,
    /// requests are sent at 60 % of the highest rate of the cheapest candidates
    #[arg(long, value_name = "LIMIT", value_parser = limit)]
    latency: Option<Limit>,

    /// Language of the client [default: any]
    #[arg(long, value_enum)]
    language: Option<Language>,

    /// Rungs to choose from, as globs: 'tokio/*', '*/protobuf*'
    #[arg(long, value_name = "GLOB")]
    rungs: Option<String>,

    /// Advises from the record in this folder instead of measuring
    #[arg(long, value_name = "DIR", conflicts_with_all = ["time", "out", "cpu_server", "cpu_client"])]
    from: Option<PathBuf>,

    /// Time of the closed loop [default: 1m; at most 2m30s for an array above 8 MiB, after whose
    /// first block only the candidates near the cheapest go on]
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    time: Option<Duration>,

    /// Writes server.sh, client.sh and all files of the client to this folder
    #[arg(long, value_name = "DIR")]
    snippets: Option<PathBuf>,

    /// Seed of the order of trials
    #[arg(long, default_value_t = 1)]
    seed: u64,

    #[command(flatten)]
    testbed: TestbedArgs,
}

/// The command line without contradictions.
struct Asked {
    /// `None` for the only array of a record.
    source: Option<Source>,
    array: Option<ArrayInfo>,
    rungs: Vec<Rung>,
}

impl AdviseArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let asked = self.asked().map_err(Failure::Usage)?;
        match &self.from {
            Some(folder) => self.advise(&asked, &read_named(folder)?, folder),
            None => self.measure(&asked),
        }
    }

    fn asked(&self) -> anyhow::Result<Asked> {
        let source = match (&self.array, self.dtype, &self.shape) {
            (Some(path), ..) => Some(Source::File(path.clone())),
            (None, Some(dtype), Some(shape)) => Some(Source::Seeded(dtype, values::shape(shape)?)),
            _ => None,
        };
        ensure!(
            source.is_some() || self.from.is_some(),
            "no array: give --array F.npy, or --dtype f4 --shape 100000,32"
        );
        let array = source.as_ref().map(Source::info).transpose()?;
        let speaks = |rung: &Rung| {
            rung.family() == Family::Rest || self.language.is_none_or(Language::speaks_grpc)
        };
        let mut rungs: Vec<Rung> = plans::candidates().into_iter().filter(speaks).collect();
        if let Some(globs) = &self.rungs {
            rungs = select(globs, rungs)?;
        }
        Ok(Asked { source, array, rungs })
    }

    /// Measures the candidates, and the cheapest ones once more at a rate if one is asked for.
    fn measure(&self, asked: &Asked) -> Result<(), Failure> {
        let (source, array) = asked.source.as_ref().zip(asked.array.as_ref()).expect("checked");
        let options = plans::Options {
            source: source.clone(),
            rungs: asked.rungs.clone(),
            connections: self.connections(array),
            time: self.time,
            seed: self.seed,
            free_bytes: memory::available_bytes(),
        };
        let mut plan = options.plan().map_err(Failure::Usage)?;
        let started_unix_s = now_unix_s();
        let mut testbed = self.testbed.testbed(started_unix_s).map_err(Failure::Usage)?;
        let interrupt = Interrupt::watch()?;
        measure::preflight(&testbed, &mut plan)?;
        let header = header(&plan, &testbed, PRESET, started_unix_s);
        let mut records = self.testbed.create_records(&mut testbed)?;
        records.append(&Line::Header(Box::new(header)))?;
        let running = Running { testbed: &testbed, records, stop: interrupt.flag() };
        let measured = self.carry_out(asked, array, &plan, running);
        interrupt.attribute(measured.map_err(Failure::Run))?;
        self.advise(asked, &read(&testbed.out)?, &testbed.out)
    }

    fn carry_out(
        &self,
        asked: &Asked,
        array: &ArrayInfo,
        plan: &Plan,
        mut run: Running<'_>,
    ) -> anyhow::Result<()> {
        let question = self.question(asked, array.clone(), self.connections(array), None);
        if plans::is_narrowed(array.bytes, self.time) {
            run.measure_narrowing(plan, &question)?;
        } else {
            run.measure(plan)?;
        }
        if self.rate.is_none() && self.latency.is_none() {
            return Ok(());
        }
        let closed = read(&run.testbed.out)?;
        let (rungs, highest_hz) = advice::candidates_at_rate(&closed, &question)?;
        let quantile = self.latency.as_ref().map_or(USUAL_QUANTILE, |limit| limit.quantile);
        let rate_hz = self.rate.unwrap_or(highest_hz);
        run.measure(&plans::at_rate(plan, &rungs, rate_hz, quantile))
    }

    fn connections(&self, array: &ArrayInfo) -> u32 {
        self.clients.unwrap_or_else(|| plans::usual_connections(array.bytes))
    }

    fn question(
        &self,
        asked: &Asked,
        array: ArrayInfo,
        connections: u32,
        rate_hz: Option<f64>,
    ) -> Question {
        Question {
            array,
            connections,
            language: self.language,
            rungs: asked.rungs.iter().map(Rung::to_string).collect(),
            rate_hz,
            limit: self.latency.clone(),
        }
    }

    fn advise(&self, asked: &Asked, run: &Run, folder: &Path) -> Result<(), Failure> {
        let no_advice = |why: &dyn std::fmt::Display| {
            Failure::NoVerdict(anyhow!("{}: {why}", folder.display()))
        };
        let array = asked.array.clone().or_else(|| advice::only_array(run));
        let array = array.ok_or_else(|| {
            no_advice(
                &"the record has several arrays: name one with --array, or --dtype and --shape",
            )
        })?;
        let connections = match (self.clients, advice::connections(run, &array).first()) {
            (None, Some(most)) if self.from.is_some() => *most,
            _ => self.connections(&array),
        };
        let rate_hz = self.rate_in(run, &array, connections).map_err(|why| no_advice(&why))?;
        let question = self.question(asked, array, connections, rate_hz);
        let advice = advice::advise(run, &question, width()).map_err(|why| no_advice(&why))?;
        print(&self.text(&question, &advice, run, folder)?)?;
        match advice.choice {
            Some(_) => Ok(()),
            None => Err(no_advice(&"no candidate can be chosen")),
        }
    }

    /// Returns the rate of the figures: the one that was asked for, or for a limit alone the only
    /// one of the record.
    fn rate_in(
        &self,
        run: &Run,
        array: &ArrayInfo,
        connections: u32,
    ) -> Result<Option<f64>, NoAdvice> {
        if self.rate.is_some() || self.latency.is_none() {
            return Ok(self.rate);
        }
        match advice::rates(run, array, connections).as_slice() {
            [rate_hz] => Ok(Some(*rate_hz)),
            _ => Err(NoAdvice::OneRate),
        }
    }

    /// Returns the advice with server, client and the record, and writes the snippets.
    fn text(
        &self,
        question: &Question,
        advice: &Advice,
        run: &Run,
        folder: &Path,
    ) -> anyhow::Result<String> {
        let mut parts = vec![advice.text.clone()];
        let mut sources: &[SourceFile] = &[];
        if let Some(Choice { rung, client }) = &advice.choice {
            let address = usual_address(rung.family());
            parts.push(format!("Server\n   {}\n", server(*rung, &question.array, address)?));
            let (needs, command) = (client.needs, client.command(address));
            parts.push(format!("Client (needs {needs})\n   {command}\n"));
            match &self.snippets {
                Some(snippets) => {
                    snippets::write(snippets, *rung, &question.array, client)?;
                    let path = |name: &str| quoted_path(&snippets.join(name));
                    let (server, client) = (path("server.sh"), path("client.sh"));
                    parts.push(format!("   both commands: {server}, {client}\n"));
                }
                None => parts.push(
                    "   in the folder of this project; --snippets DIR writes its files elsewhere\n"
                        .to_owned(),
                ),
            }
            sources = client.sources;
        }
        let again = self.again(run, folder);
        parts.push(format!("From\n   {}\nAgain\n   {again}\n", folder.display()));
        parts.extend(sources.iter().map(|file| format!("\n--- {}\n{}", file.path, file.text)));
        Ok(parts.concat())
    }

    /// Returns the command that answers the same question from the record.
    fn again(&self, run: &Run, folder: &Path) -> String {
        let mut words = vec!["ndecho advise --from".to_owned(), quoted_path(folder)];
        let mut flag = |name: &str, value: Option<String>| {
            words.extend(value.map(|value| format!("{name} {}", quoted(&value))));
        };
        // A record of one array need not be told which.
        if advice::only_array(run).is_none() {
            flag("--array", self.array.as_ref().map(|path| path.display().to_string()));
            flag("--dtype", self.dtype.map(|dtype| dtype.to_string()));
            flag("--shape", self.shape.clone());
        }
        flag("--clients", self.clients.map(|clients| clients.to_string()));
        flag("--rate", self.rate.map(|rate| rate.to_string()));
        flag("--latency", self.latency.as_ref().map(limit_flag));
        let language = self.language.and_then(|language| language.to_possible_value());
        flag("--language", language.map(|value| value.get_name().to_owned()));
        flag("--rungs", self.rungs.clone());
        words.join(" ")
    }
}

/// A run into one record.
struct Running<'a> {
    testbed: &'a Testbed,
    records: Records,
    stop: &'a AtomicBool,
}

impl Running<'_> {
    fn measure(&mut self, plan: &Plan) -> anyhow::Result<()> {
        check(plan)?;
        let Running { testbed, records, stop } = self;
        let totals = measure::run(testbed, plan, records, Vec::new(), stop, ANALYSIS)?;
        self.ended(totals)
    }

    /// Measures all candidates once, and then those that are near the cheapest.
    fn measure_narrowing(&mut self, plan: &Plan, question: &Question) -> anyhow::Result<()> {
        check(plan)?;
        tell(format!(
            "each call takes long with {}: after the first block, the candidates that cost more \
             than {} times the cheapest are left out",
            units::bytes(question.array.bytes),
            advice::FAR
        ));
        let Running { testbed, records, stop } = self;
        let leave_out = || {
            // Without an answer all candidates go on.
            let far = read(&testbed.out).ok().and_then(|run| advice::far(&run, question).ok());
            far.unwrap_or_default()
        };
        let totals = measure::run_narrowing(testbed, plan, records, stop, ANALYSIS, &leave_out)?;
        self.ended(totals)
    }

    fn ended(&self, totals: Totals) -> anyhow::Result<()> {
        let out = self.testbed.out.display();
        ensure!(!totals.interrupted, "stopped before its end; {out} has the trials so far");
        Ok(())
    }
}

const ANALYSIS: Analysis = Analysis { is_enough: is_resolved, forecast: forecast::of_ladder };

/// Fails if no candidate can be measured.
fn check(plan: &Plan) -> anyhow::Result<()> {
    if plan.cells.iter().all(|cell| cell.skip.is_some()) {
        let reason = plan.cells.first().and_then(|cell| cell.skip.as_deref());
        bail!("no candidate can be measured: {}", reason.unwrap_or("there is none"));
    }
    Ok(())
}

fn dtype(text: &str) -> Result<DType, String> {
    DType::parse(text).map_err(|error| error.to_string())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok();
    rate.filter(|rate| (1.0..=RATE_HZ_MAX).contains(rate))
        .ok_or_else(|| format!("expected requests per second from 1 to {RATE_HZ_MAX}"))
}

/// Reads `p99=5ms`.
fn limit(text: &str) -> Result<Limit, String> {
    let wrong = || "expected a quantile and a time, e.g. p99=5ms".to_owned();
    let (name, time) = text.split_once('=').ok_or_else(wrong)?;
    let percent: f64 = name.strip_prefix('p').and_then(|p| p.parse().ok()).ok_or_else(wrong)?;
    if !(1.0..=99.9).contains(&percent) {
        return Err(format!("the quantile {name:?} is not within p1 and p99.9"));
    }
    let time = values::positive_duration(time)?;
    let ns = u64::try_from(time.as_nanos()).map_err(|_| wrong())?;
    Ok(Limit { name: name.to_owned(), quantile: percent / 100.0, ns })
}

/// Writes a limit as [`limit`] reads it.
fn limit_flag(limit: &Limit) -> String {
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")];
    let fits = |(unit_ns, _): &(u64, &str)| limit.ns.is_multiple_of(*unit_ns);
    let (unit_ns, unit) = units.into_iter().find(fits).unwrap_or((1, "ns"));
    format!("{}={}{unit}", limit.name, limit.ns / unit_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_has_a_quantile_and_a_time() {
        let p99 = limit("p99=5ms").unwrap();
        assert_eq!((p99.name.as_str(), p99.quantile, p99.ns), ("p99", 0.99, 5_000_000));
        assert!((limit("p99.9=1s").unwrap().quantile - 0.999).abs() < 1e-12);
        for wrong in ["99=5ms", "p99", "p99:5ms", "pfast=5ms", "5ms"] {
            assert!(limit(wrong).unwrap_err().contains("p99=5ms"), "{wrong}");
        }
        for (wrong, word) in [("p100=5ms", "p99.9"), ("p99=5", "ms"), ("p99=0ms", "more than zero")]
        {
            assert!(limit(wrong).unwrap_err().contains(word), "{wrong}");
        }
    }

    #[test]
    fn a_limit_is_written_as_it_is_read() {
        for text in ["p99=5ms", "p50=1ns", "p99.9=2s", "p90=1500us"] {
            assert_eq!(limit_flag(&limit(text).unwrap()), text);
        }
        assert_eq!(limit_flag(&limit("p99=2m").unwrap()), "p99=120s");
    }
}
