//! The rule file, compiled: which layer a source file, a symbol or a type belongs to.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use globset::{GlobBuilder, GlobMatcher};
use serde::Deserialize;

use crate::axis::Layer;

/// Name of this program in place of a crate's name.
pub(super) const OWN: &str = "ndecho";

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    Rules::parse(include_str!("rules.toml")).expect("a test parses the same file")
});

/// Layer of a rule, which may leave the direction of a codec open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Layer(Layer),
    Codec,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum RuleError {
    #[error(transparent)]
    Toml(#[from] toml::de::Error),
    #[error(transparent)]
    Glob(#[from] globset::Error),
    #[error(transparent)]
    Layer(#[from] crate::axis::UnknownName),
}

#[derive(Debug)]
pub(super) struct Rules {
    crates: Vec<(GlobMatcher, Target)>,
    sources: Vec<SourceRule>,
    /// Words and their directions; the longest first.
    directions: Vec<(String, Layer)>,
    /// Starts of paths; the longest first.
    types: Vec<(String, Target)>,
    c: Vec<SymbolRule>,
    objects: Vec<(GlobMatcher, Target)>,
    kernel: Vec<SymbolRule>,
    kernel_transparent: Vec<GlobMatcher>,
    interrupts_enabled: Vec<GlobMatcher>,
}

#[derive(Debug)]
struct SourceRule {
    target: Target,
    name: GlobMatcher,
    path: GlobMatcher,
    function: Option<GlobMatcher>,
}

#[derive(Debug)]
struct SymbolRule {
    layer: Layer,
    functions: Vec<GlobMatcher>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    crates: BTreeMap<String, String>,
    source: Vec<SourceText>,
    directions: Directions,
    types: BTreeMap<String, String>,
    c: Vec<SymbolText>,
    objects: BTreeMap<String, String>,
    kernel: Vec<SymbolText>,
    kernel_transparent: Functions,
    interrupts_enabled: Functions,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceText {
    layer: String,
    #[serde(rename = "crate")]
    name: String,
    path: String,
    function: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SymbolText {
    layer: Layer,
    functions: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Directions {
    decode: Vec<String>,
    encode: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Functions {
    functions: Vec<String>,
}

impl Rules {
    pub(super) fn built_in() -> &'static Rules {
        &RULES
    }

    pub(super) fn parse(text: &str) -> Result<Rules, RuleError> {
        let document: Document = toml::from_str(text)?;
        let words = |words: Vec<String>, layer| words.into_iter().map(move |word| (word, layer));
        let Directions { decode, encode } = document.directions;
        let mut directions: Vec<(String, Layer)> =
            words(decode, Layer::CodecDecode).chain(words(encode, Layer::CodecEncode)).collect();
        directions.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
        let mut types = Vec::new();
        for (start, layer) in document.types {
            types.push((start, target(&layer)?));
        }
        types.sort_by_key(|(start, _)| std::cmp::Reverse(start.len()));
        Ok(Rules {
            crates: by_glob(document.crates)?,
            sources: document.source.into_iter().map(SourceRule::new).collect::<Result<_, _>>()?,
            directions,
            types,
            c: document.c.into_iter().map(SymbolRule::new).collect::<Result<_, _>>()?,
            objects: by_glob(document.objects)?,
            kernel: document.kernel.into_iter().map(SymbolRule::new).collect::<Result<_, _>>()?,
            kernel_transparent: globs(&document.kernel_transparent.functions)?,
            interrupts_enabled: globs(&document.interrupts_enabled.functions)?,
        })
    }

    /// Finds the layer of a function in a source file of a crate.
    pub(super) fn source(&self, name: &str, path: &str, function: &str) -> Option<Target> {
        let is_met = |rule: &&SourceRule| {
            rule.name.is_match(name)
                && rule.path.is_match(path)
                && rule.function.as_ref().is_none_or(|glob| glob.is_match(function))
        };
        let of_part = self.sources.iter().find(is_met).map(|rule| rule.target);
        of_part.or_else(|| first(&self.crates, name))
    }

    /// Returns whether a crate has a layer of its own.
    pub(super) fn knows_crate(&self, name: &str) -> bool {
        first(&self.crates, name).is_some()
    }

    /// Finds the direction that the name of a function tells.
    pub(super) fn direction(&self, function: &str) -> Option<Layer> {
        // Generic arguments and the crate tell nothing about the function itself.
        let name = function.split('<').next().unwrap_or(function);
        let name = name.rsplit("::").next().filter(|last| !last.is_empty()).unwrap_or(function);
        self.directions.iter().find(|(word, _)| name.contains(word.as_str())).map(|(_, it)| *it)
    }

    /// Finds the layer of the first known type in a function's name.
    pub(super) fn first_type(&self, function: &str) -> Option<Target> {
        self.first_type_at(function).map(|(_, target)| target)
    }

    /// Returns the crate of the type that decides a function by its name.
    pub(super) fn crate_of_first_type<'f>(&self, function: &'f str) -> Option<&'f str> {
        let (at, _) = self.first_type_at(function)?;
        function[at..].split("::").next()
    }

    fn first_type_at(&self, function: &str) -> Option<(usize, Target)> {
        let is_start = |at: usize| {
            !function[..at].ends_with(|last: char| last.is_alphanumeric() || "_:".contains(last))
        };
        let starts = (0..function.len()).filter(|at| function.is_char_boundary(*at));
        starts.filter(|at| is_start(*at)).find_map(|at| {
            let rest = &function[at..];
            self.types.iter().find(|(start, _)| rest.starts_with(start)).map(|(_, it)| (at, *it))
        })
    }

    pub(super) fn c_function(&self, function: &str) -> Option<Layer> {
        symbol(&self.c, function)
    }

    pub(super) fn object(&self, file_name: &str) -> Option<Target> {
        first(&self.objects, file_name)
    }

    pub(super) fn kernel(&self, function: &str) -> Option<Layer> {
        if self.kernel_transparent.iter().any(|glob| glob.is_match(function)) {
            return None;
        }
        symbol(&self.kernel, function)
    }

    /// Returns whether samples of the time before a function may land at its end.
    pub(super) fn enables_interrupts(&self, function: &str) -> bool {
        self.interrupts_enabled.iter().any(|glob| glob.is_match(function))
    }
}

impl SourceRule {
    fn new(text: SourceText) -> Result<SourceRule, RuleError> {
        let SourceText { layer, name, path, function } = text;
        Ok(SourceRule {
            target: target(&layer)?,
            name: glob(&name)?,
            path: glob(&path)?,
            function: function.as_deref().map(glob).transpose()?,
        })
    }
}

impl SymbolRule {
    fn new(text: SymbolText) -> Result<SymbolRule, RuleError> {
        Ok(SymbolRule { layer: text.layer, functions: globs(&text.functions)? })
    }
}

fn target(layer: &str) -> Result<Target, RuleError> {
    Ok(if layer == "codec" { Target::Codec } else { Target::Layer(layer.parse()?) })
}

fn glob(text: &str) -> Result<GlobMatcher, RuleError> {
    Ok(GlobBuilder::new(text).empty_alternates(true).build()?.compile_matcher())
}

fn globs(texts: &[String]) -> Result<Vec<GlobMatcher>, RuleError> {
    texts.iter().map(|text| glob(text)).collect()
}

fn by_glob(table: BTreeMap<String, String>) -> Result<Vec<(GlobMatcher, Target)>, RuleError> {
    table.into_iter().map(|(name, layer)| Ok((glob(&name)?, target(&layer)?))).collect()
}

fn first(table: &[(GlobMatcher, Target)], name: &str) -> Option<Target> {
    table.iter().find(|(glob, _)| glob.is_match(name)).map(|(_, target)| *target)
}

fn symbol(rules: &[SymbolRule], function: &str) -> Option<Layer> {
    let is_met = |rule: &&SymbolRule| rule.functions.iter().any(|glob| glob.is_match(function));
    rules.iter().find(is_met).map(|rule| rule.layer)
}
