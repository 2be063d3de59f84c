//! Instructions by layer, from a file of callgrind.
//!
//! callgrind knows the function of each instruction and the callers of each function, but not the
//! functions that were inlined. These are looked up by address, so that the rules see what they see
//! in a sample. A function that decides nothing gives its instructions to its callers, each in
//! proportion to the instructions that it spent there.
//!
//! Instructions of code below a folder can be left out, with the copies and allocations that it
//! asks for: a lane in memory replaces the socket by code that no server has.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use crate::axis::Layer;

use super::callgrind_graph::{CallgrindError, Function, Graph, Site};
use super::classify::{self, Basis, Frame, Place};
use super::modules::Module;
use super::perf_file::{Identity, Mapping};
use super::rules::{OWN, Rules};
use super::{FunctionSamples, label, most};

/// Functions of a layer that are named.
const FUNCTIONS_MAX: usize = 5;

/// Rounds over all functions at most, and the change of a share after which no round follows.
const ROUNDS_MAX: usize = 1000;
const SHARE_CHANGE_MIN: f64 = 1e-6;

/// Instructions of one file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Instructions {
    pub layers: BTreeMap<Layer, LayerInstructions>,
    /// Instructions of the folder that is left out.
    pub left_out: u64,
    /// Calls of the C library's allocator, and of its functions that copy.
    pub allocations: u64,
    pub copies: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerInstructions {
    pub count: u64,
    /// Functions that decided, those with the most instructions first.
    pub functions: Vec<FunctionSamples>,
}

/// Source of the functions at an address, the innermost inlined one first.
trait Symbols {
    fn frames(&mut self, object: &str, address: u64) -> Vec<Frame>;
}

/// Object files of a program, opened when an address needs them.
#[derive(Default)]
pub struct ObjectFiles(HashMap<String, Module>);

impl Symbols for ObjectFiles {
    fn frames(&mut self, object: &str, address: u64) -> Vec<Frame> {
        let open = || {
            // The addresses are those of the file.
            let whole = Mapping {
                pid: std::process::id(),
                path: PathBuf::from(object),
                identity: Identity::Unknown,
                start: 0,
                end: u64::MAX,
                file_offset: 0,
            };
            Module::open(&whole).0
        };
        self.0.entry(object.to_owned()).or_insert_with(open).frames(address).to_vec()
    }
}

impl Instructions {
    /// Reads a file of `valgrind --tool=callgrind --dump-instr=yes`, without compression. Code
    /// below `left_out`, a folder of this crate's sources, is left out.
    pub fn read(
        text: &str,
        files: &mut ObjectFiles,
        left_out: &str,
    ) -> Result<Instructions, CallgrindError> {
        attribute(text, files, left_out)
    }
}

/// Receiver of instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Account {
    Layer(Layer),
    LeftOut,
}

/// Decision on the functions at an address.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    Account(Account),
    /// Function of the C library, whose callers tell whether it is left out.
    C(Layer),
    /// Codec whose direction the callers tell.
    Codec,
    Callers,
}

type Shares = BTreeMap<Account, f64>;

/// Attribution of a graph.
struct Attribution<'a, S> {
    graph: &'a Graph,
    symbols: &'a mut S,
    /// Path from the root of this crate that is left out.
    left_out: &'a str,
    verdicts: HashMap<(usize, u64), (Verdict, String)>,
    /// Accounts of the callers of each function, by the instructions that each of them spent there;
    /// none if no caller decides.
    shares: Vec<Shares>,
}

/// Attributes the instructions of the file `text`.
fn attribute(
    text: &str,
    symbols: &mut impl Symbols,
    left_out: &str,
) -> Result<Instructions, CallgrindError> {
    let graph = Graph::parse(text)?;
    let shares = vec![Shares::new(); graph.functions.len()];
    let verdicts = HashMap::new();
    Ok(Attribution { graph: &graph, symbols, left_out, verdicts, shares }.run())
}

impl<S: Symbols> Attribution<'_, S> {
    fn run(mut self) -> Instructions {
        self.share_out();
        let mut counts = Shares::new();
        let mut functions: BTreeMap<Layer, BTreeMap<String, f64>> = BTreeMap::new();
        for index in 0..self.graph.functions.len() {
            for &(address, instructions) in &self.graph.functions[index].own {
                let (verdict, name) = self.verdict(index, address);
                let mut shares = self.of_verdict(index, &verdict);
                if shares.is_empty() {
                    shares.insert(Account::Layer(Layer::Unattributed), 1.0);
                }
                for (account, share) in shares {
                    let count = share * instructions as f64;
                    *counts.entry(account).or_default() += count;
                    if let Account::Layer(layer) = account {
                        let of_layer = functions.entry(layer).or_default();
                        *of_layer.entry(name.clone()).or_default() += count;
                    }
                }
            }
        }
        let mut all = Instructions::default();
        for (account, count) in counts {
            let count = count.round() as u64;
            match account {
                Account::LeftOut => all.left_out = count,
                Account::Layer(layer) => {
                    let named = functions.remove(&layer).unwrap_or_default();
                    let rounded = named.into_iter().map(|(name, it)| (name, it.round() as u64));
                    let functions = most(&rounded.collect(), FUNCTIONS_MAX);
                    all.layers.insert(layer, LayerInstructions { count, functions });
                }
            }
        }
        all.layers.retain(|_, layer| layer.count > 0);
        (all.allocations, all.copies) = self.calls();
        all
    }

    /// Counts the calls of the allocator and of copies, without those of code that is left out.
    fn calls(&mut self) -> (u64, u64) {
        let (mut allocations, mut copies) = (0.0, 0.0);
        for index in 0..self.graph.functions.len() {
            let callee = &self.graph.functions[index];
            let (verdict, name) = self.verdict(index, callee.entry);
            let (is_allocation, is_copy) = (is_allocation(&name), is_copy(&name));
            if !matches!(verdict, Verdict::C(_)) || !(is_allocation || is_copy) {
                continue;
            }
            for site in &callee.callers {
                // The allocator's functions call each other.
                let caller = &self.graph.functions[site.caller];
                if is_allocation && caller.object == callee.object {
                    continue;
                }
                let (verdict, _) = self.verdict(site.caller, site.address);
                let accounts = self.of_verdict(site.caller, &verdict);
                let left_out = accounts.get(&Account::LeftOut).copied().unwrap_or(0.0);
                let times = site.times as f64 * (1.0 - left_out);
                *if is_allocation { &mut allocations } else { &mut copies } += times;
            }
        }
        (allocations.round() as u64, copies.round() as u64)
    }

    /// Decides by the functions that were inlined at an address. Also returns the name of the one
    /// that decided, or of the function itself.
    fn verdict(&mut self, function: usize, address: u64) -> (Verdict, String) {
        if let Some(known) = self.verdicts.get(&(function, address)) {
            return known.clone();
        }
        let Function { object, name, .. } = &self.graph.functions[function];
        let mut frames = self.symbols.frames(object, address);
        for frame in &mut frames {
            if frame.function.is_empty() {
                // callgrind reads more symbol tables. Its marks of recursion and version follow.
                frame.function = name.split(['\'', '@']).next().unwrap_or(name).to_owned();
            }
        }
        let rules = Rules::built_in();
        let decision = classify::classify(rules, &frames);
        let named = frames.get(decision.frame).map_or_else(|| name.clone(), label);
        let verdict = match decision.basis {
            Basis::Nothing => Verdict::Callers,
            _ if self.is_left_out(&frames[decision.frame]) => Verdict::Account(Account::LeftOut),
            Basis::CFunction => Verdict::C(decision.layer),
            _ if classify::lacks_direction(rules, &frames[decision.frame..]) => Verdict::Codec,
            _ => Verdict::Account(Account::Layer(decision.layer)),
        };
        self.verdicts.insert((function, address), (verdict.clone(), named.clone()));
        (verdict, named)
    }

    fn is_left_out(&self, frame: &Frame) -> bool {
        matches!(&frame.place, Place::Source { name, path }
            if name == OWN && path.starts_with(self.left_out))
    }

    /// Returns the accounts of an instruction of `function`.
    fn of_verdict(&self, function: usize, verdict: &Verdict) -> Shares {
        let layer = |layer| Shares::from([(Account::Layer(layer), 1.0)]);
        match verdict {
            Verdict::Account(account) => Shares::from([(*account, 1.0)]),
            Verdict::Callers => self.shares[function].clone(),
            Verdict::C(of_c) => {
                let left_out = self.shares[function].get(&Account::LeftOut).copied();
                split(left_out.unwrap_or(0.0), Account::LeftOut, Account::Layer(*of_c))
            }
            Verdict::Codec => {
                let callers = &self.shares[function];
                let encode = Account::Layer(Layer::CodecEncode);
                match callers.get(&encode) {
                    // Work that serves both directions counts as decoding.
                    None => layer(Layer::CodecDecode),
                    Some(share) => split(*share, encode, Account::Layer(Layer::CodecDecode)),
                }
            }
        }
    }

    /// Finds [`Attribution::shares`]. Functions may call each other in circles, so this goes round
    /// until nothing changes: the result does not depend on the order of the functions, which
    /// differs from one run of callgrind to the next.
    fn share_out(&mut self) {
        let graph = self.graph;
        let calls: Vec<Vec<(usize, f64, Verdict)>> = (0..graph.functions.len())
            .map(|callee| {
                // What a function spends below itself has come from its other callers.
                let callers = graph.functions[callee].callers.iter();
                let others = callers.filter(|it| it.caller != callee && it.instructions > 0);
                let call = |site: &Site| {
                    let (verdict, _) = self.verdict(site.caller, site.address);
                    (site.caller, site.instructions as f64, verdict)
                };
                others.map(call).collect()
            })
            .collect();
        for _ in 0..ROUNDS_MAX {
            let mut change: f64 = 0.0;
            for (callee, callers) in calls.iter().enumerate() {
                let mut shares = Shares::new();
                for (caller, instructions, verdict) in callers {
                    for (account, share) in self.of_verdict(*caller, verdict) {
                        *shares.entry(account).or_default() += share * instructions;
                    }
                }
                let sum: f64 = shares.values().sum();
                shares.values_mut().for_each(|share| *share /= sum);
                let of = |shares: &Shares, account| shares.get(account).copied().unwrap_or(0.0);
                let known = &self.shares[callee];
                for account in shares.keys().chain(known.keys()) {
                    change = change.max((of(&shares, account) - of(known, account)).abs());
                }
                self.shares[callee] = shares;
            }
            if change < SHARE_CHANGE_MIN {
                break;
            }
        }
    }
}

fn is_allocation(name: &str) -> bool {
    const NAMES: [&str; 6] =
        ["malloc", "calloc", "realloc", "memalign", "posix_memalign", "aligned_alloc"];
    let name = name.strip_prefix("__GI_").unwrap_or(name);
    NAMES.contains(&name.strip_prefix("__libc_").or(name.strip_prefix("__")).unwrap_or(name))
}

fn is_copy(name: &str) -> bool {
    let name = name.trim_start_matches('_');
    ["memcpy", "memmove", "mempcpy"].iter().any(|copy| name.starts_with(copy))
}

fn split(share: f64, one: Account, other: Account) -> Shares {
    let mut shares = Shares::from([(other, 1.0 - share)]);
    *shares.entry(one).or_default() += share;
    shares.retain(|_, share| *share > 0.0);
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Functions by object and address; the address of a call is in the caller.
    struct Fake;

    impl Symbols for Fake {
        fn frames(&mut self, object: &str, address: u64) -> Vec<Frame> {
            let source = |name: &str, path: &str, function: &str| Frame {
                place: Place::Source { name: name.into(), path: path.into() },
                function: function.into(),
            };
            let c = |function: &str| Frame { place: Place::C, function: function.into() };
            match (object, address) {
                ("/lib/libc.so.6", 0x100..0x200) => vec![c("")],
                ("/lib/libc.so.6", 0x200..0x300) => vec![c("memcpy")],
                ("/bin/x", 0x10) => vec![source("h2", "src/proto/mod.rs", "poll")],
                // An inlined function of core belongs to the one around it.
                ("/bin/x", 0x11) => vec![
                    source("core", "src/ptr/mod.rs", "read"),
                    source("h2", "src/proto/mod.rs", "poll"),
                ],
                ("/bin/x", 0x20) => vec![source("tonic", "src/status.rs", "from")],
                ("/bin/x", 0x30 | 0x31) => vec![source("core", "src/str/mod.rs", "from_utf8")],
                ("/bin/x", 0x40) => vec![source(OWN, "src/server/lane/tape.rs", "poll_read")],
                ("/bin/x", 0x50) => vec![source(OWN, "src/codec/cursor.rs", "advance")],
                ("/bin/x", 0x60) => vec![source(OWN, "src/codec/npy.rs", "encode")],
                ("/bin/x", 0x70) => vec![source(OWN, "src/codec/npy.rs", "decode")],
                _ => Vec::new(),
            }
        }
    }

    fn attribute(body: &str) -> Instructions {
        let text = format!("# callgrind format\nversion: 1\nevents: Ir\n\nob=/bin/x\n{body}");
        super::attribute(&text, &mut Fake, "src/server/lane/").unwrap()
    }

    fn counts(body: &str) -> BTreeMap<Layer, u64> {
        attribute(body).layers.into_iter().map(|(layer, it)| (layer, it.count)).collect()
    }

    #[test]
    fn an_instruction_belongs_to_the_function_that_was_inlined_there() {
        let body = "fl=a.rs\nfn=poll\n0x10 1 70\nfi=core.rs\n0x11 2 30\n";
        assert_eq!(counts(body), BTreeMap::from([(Layer::HttpFraming, 100)]));
        let functions = &attribute(body).layers[&Layer::HttpFraming].functions;
        assert_eq!(functions[0].function, "h2/proto/mod.rs poll");
        assert_eq!(functions[0].samples, 100);
    }

    #[test]
    fn a_function_that_decides_nothing_gives_its_cost_to_its_callers_in_proportion() {
        let body = "fn=poll\n0x10 1 10\ncfn=from_utf8\ncalls=3 0x30 0\n0x10 1 30\n\
                    fn=from\n0x20 1 5\ncfn=from_utf8\ncalls=1 0x30 0\n0x20 1 10\n\
                    fn=from_utf8\n0x30 1 40\n";
        let expected = BTreeMap::from([(Layer::HttpFraming, 40), (Layer::GrpcSemantics, 15)]);
        assert_eq!(counts(body), expected);
    }

    #[test]
    fn a_function_without_callers_is_unattributed_and_a_circle_ends() {
        assert_eq!(counts("fn=x\n0x30 1 7\n"), BTreeMap::from([(Layer::Unattributed, 7)]));
        let circle = "fn=x\n0x30 1 7\ncfn=y\ncalls=1 0x30 0\n0x30 1 5\n\
                      fn=y\n0x30 1 3\ncfn=x\ncalls=1 0x30 0\n0x30 1 5\n\
                      fn=poll\n0x10 1 1\ncfn=x\ncalls=1 0x30 0\n0x10 1 10\n";
        assert_eq!(counts(circle), BTreeMap::from([(Layer::HttpFraming, 11)]));
    }

    #[test]
    fn functions_that_call_each_other_have_the_same_layers_in_any_order() {
        // x and y call each other; poll calls x, and from calls y.
        let functions = [
            "fn=x\n0x30 1 70\ncfn=y\ncalls=1 0x31 0\n0x30 1 50\n",
            "fn=y\n0x31 1 30\ncfn=x\ncalls=1 0x30 0\n0x31 1 40\n",
            "fn=poll\n0x10 1 1\ncfn=x\ncalls=1 0x30 0\n0x10 1 60\n",
            "fn=from\n0x20 1 1\ncfn=y\ncalls=1 0x31 0\n0x20 1 40\n",
        ];
        // x has 0.6 of its cost from poll and 0.4 from y; y has 5/9 from x and 4/9 from `from`.
        // So x is to 27/35 of poll and y to 15/35.
        let expected = BTreeMap::from([(Layer::HttpFraming, 68), (Layer::GrpcSemantics, 34)]);
        for order in [[0, 1, 2, 3], [1, 0, 2, 3], [2, 3, 0, 1], [3, 1, 0, 2]] {
            let body = order.map(|index| functions[index]).concat();
            assert_eq!(counts(&body), expected, "{order:?}");
        }
    }

    #[test]
    fn the_replaced_socket_is_left_out_with_the_copies_that_it_asks_for() {
        let body = "fn=poll_read\n0x40 1 9\ncob=/lib/libc.so.6\ncfn=memcpy\ncalls=1 0x200 0\n0x40 1 30\n\
                    fn=poll\n0x10 1 1\ncob=/lib/libc.so.6\ncfn=memcpy\ncalls=1 0x200 0\n0x10 1 10\n\
                    ob=/lib/libc.so.6\nfn=memcpy\n0x200 1 40\n";
        let found = attribute(body);
        assert_eq!(found.left_out, 39);
        let layers: Vec<(Layer, u64)> =
            found.layers.into_iter().map(|(layer, it)| (layer, it.count)).collect();
        assert_eq!(layers, [(Layer::HttpFraming, 1), (Layer::UserCopies, 10)]);
    }

    #[test]
    fn calls_of_the_allocator_and_copies_are_counted_where_they_are_not_left_out() {
        let body = "fn=poll_read\n0x40 1 9\ncob=/lib/libc.so.6\ncfn=memcpy\ncalls=5 0x200 0\n0x40 1 30\n\
                    fn=poll\n0x10 1 1\ncob=/lib/libc.so.6\ncfn=memcpy\ncalls=3 0x200 0\n0x10 1 10\n\
                    cob=/lib/libc.so.6\ncfn=malloc\ncalls=4 0x100 0\n0x10 1 10\n\
                    cob=/lib/libc.so.6\ncfn=free\ncalls=4 0x180 0\n0x10 1 10\n\
                    ob=/lib/libc.so.6\nfn=malloc\n0x100 1 10\ncfn=malloc'2\ncalls=2 0x100 0\n\
                    0x100 1 5\nfn=memcpy\n0x200 1 40\n";
        let found = attribute(body);
        assert_eq!((found.allocations, found.copies), (4, 3));
    }

    #[test]
    fn each_name_of_the_allocator_and_of_copies_is_known() {
        for name in ["malloc", "__GI___libc_malloc", "__libc_calloc", "realloc", "posix_memalign"] {
            assert!(is_allocation(name), "{name}");
        }
        for name in ["_int_malloc", "free", "malloc_consolidate", "memset"] {
            assert!(!is_allocation(name) && !is_copy(name), "{name}");
        }
        assert!(is_copy("__memmove_avx512_unaligned_erms") && is_copy("memcpy"));
    }

    #[test]
    fn a_function_without_a_symbol_has_the_name_that_callgrind_knows() {
        let body = "ob=/lib/libc.so.6\nfn=_int_malloc'2\n0x100 1 40\n";
        assert_eq!(counts(body), BTreeMap::from([(Layer::Allocator, 40)]));
    }

    #[test]
    fn the_caller_tells_the_direction_of_a_codec() {
        let body = "fn=encode\n0x60 1 1\ncfn=advance\ncalls=1 0x50 0\n0x60 1 30\n\
                    fn=decode\n0x70 1 1\ncfn=advance\ncalls=1 0x50 0\n0x70 1 10\n\
                    fn=advance\n0x50 1 40\n";
        let expected = BTreeMap::from([(Layer::CodecDecode, 11), (Layer::CodecEncode, 31)]);
        assert_eq!(counts(body), expected);
    }

    #[test]
    fn a_file_of_another_kind_is_refused_with_its_line() {
        let read = |text: &str| super::attribute(text, &mut Fake, "").unwrap_err().to_string();
        assert!(read("events: Dr Ir\n").contains("\"Dr Ir\""));
        assert!(read("events: Ir\nfn=x\n+3 1 40\n").starts_with("line 3 is not"));
        assert!(read("events: Ir\n0x10 1 40\n").starts_with("line 2 is not"));
        assert!(read("events: Ir\nfn=x\n0x10 1 many\n").contains("\"0x10 1 many\""));
    }
}
