//! Functions and calls of a file of callgrind, `--dump-instr=yes` and without compression.

use std::collections::HashMap;

#[derive(Debug, thiserror::Error)]
pub enum CallgrindError {
    #[error("line {number} is not one of callgrind's with --dump-instr=yes: {line:?}")]
    Line { number: usize, line: String },
    #[error("the file counts {0:?}, expected Ir first; do not set --cache-sim or --branch-sim")]
    Events(String),
}

/// Functions and their calls, as the file has them.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) functions: Vec<Function>,
    numbers: HashMap<(String, String), usize>,
}

#[derive(Debug)]
pub(super) struct Function {
    pub(super) object: String,
    pub(super) name: String,
    /// Instructions by address.
    pub(super) own: Vec<(u64, u64)>,
    pub(super) callers: Vec<Site>,
    /// Address at which it is entered.
    pub(super) entry: u64,
}

/// Place of a call, its number of times, and the instructions that the callee took there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site {
    pub(super) caller: usize,
    pub(super) address: u64,
    pub(super) times: u64,
    pub(super) instructions: u64,
}

impl Graph {
    pub(super) fn parse(text: &str) -> Result<Graph, CallgrindError> {
        let mut graph = Graph::default();
        let (mut object, mut called_object) = (String::new(), None::<String>);
        let (mut current, mut called) = (None, None);
        // Number of times and target of the call whose cost the next line has.
        let mut call: Option<(u64, u64)> = None;
        for (index, line) in text.lines().enumerate() {
            let wrong = || CallgrindError::Line {
                number: index + 1,
                line: line.chars().take(80).collect(),
            };
            if line.starts_with("0x") {
                let mut words = line.split_ascii_whitespace();
                let address = words.next().and_then(number).ok_or_else(wrong)?;
                let count = words.nth(1).map_or(Some(0), |word| word.parse().ok());
                let instructions = count.ok_or_else(wrong)?;
                let function: usize = current.ok_or_else(wrong)?;
                if let Some((times, target)) = call.take() {
                    let callee: usize = called.ok_or_else(wrong)?;
                    let site = Site { caller: function, address, times, instructions };
                    graph.functions[callee].callers.push(site);
                    graph.functions[callee].entry = target;
                } else {
                    graph.functions[function].own.push((address, instructions));
                }
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                match line.split_once(':') {
                    Some(("events", events)) if !events.trim_start().starts_with("Ir") => {
                        return Err(CallgrindError::Events(events.trim().to_owned()));
                    }
                    None if !line.is_empty() && !line.starts_with('#') => return Err(wrong()),
                    _ => continue,
                }
            };
            match key {
                "ob" => object = value.to_owned(),
                "fn" => current = Some(graph.number(&object, value)),
                "cob" => called_object = Some(value.to_owned()),
                "cfn" => {
                    let object = called_object.take().unwrap_or_else(|| object.clone());
                    called = Some(graph.number(&object, value));
                }
                "calls" => {
                    let mut words = value.split_ascii_whitespace();
                    let times = words.next().and_then(|word| word.parse().ok());
                    let target = words.next().and_then(number);
                    call = Some(times.zip(target).ok_or_else(wrong)?);
                }
                _ => {}
            }
        }
        Ok(graph)
    }

    fn number(&mut self, object: &str, name: &str) -> usize {
        let key = (object.to_owned(), name.to_owned());
        *self.numbers.entry(key).or_insert_with(|| {
            self.functions.push(Function {
                object: object.to_owned(),
                name: name.to_owned(),
                own: Vec::new(),
                callers: Vec::new(),
                entry: 0,
            });
            self.functions.len() - 1
        })
    }
}

fn number(word: &str) -> Option<u64> {
    u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}
