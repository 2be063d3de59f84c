//! Ranges of the functions of a C library, by name, also if its symbol table was removed.
//!
//! The best source is the table of the library or of its debug file. Without both, the ranges come
//! from the unwind table, and names only from the dynamic symbols. Two kinds of functions then lack
//! a name but matter. The copies that glibc chooses for the processor have one address in this
//! process too. The inner functions of malloc stand around `malloc` in the file, so each takes the
//! name of its neighbour.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use addr2line::gimli::UnwindSection as _;
use addr2line::gimli::{self, BaseAddresses, CieOrFde, EhFrame, EndianSlice, LittleEndian};
use object::{Object, ObjectSection as _, ObjectSymbol as _, SymbolKind};

/// Where distributions put debug files, by build id.
const DEBUG_FOLDER: &str = "/usr/lib/debug/.build-id";

/// Functions of glibc's malloc.c that have dynamic symbols.
const MALLOC: [&str; 22] = [
    "__default_morecore",
    "__libc_calloc",
    "__libc_free",
    "__libc_mallinfo",
    "__libc_mallopt",
    "__libc_malloc",
    "__libc_memalign",
    "__libc_pvalloc",
    "__libc_realloc",
    "__libc_valloc",
    "__malloc_info",
    "aligned_alloc",
    "calloc",
    "cfree",
    "free",
    "mallinfo",
    "mallinfo2",
    "malloc",
    "memalign",
    "pvalloc",
    "realloc",
    "valloc",
];

/// Functions with their ranges, in the order of the addresses in the file.
#[derive(Debug, Default)]
pub(super) struct CFunctions(Vec<(Range<u64>, String)>);

impl CFunctions {
    /// Reads the functions of a library. `copies` are the addresses in the file of the copies that
    /// this process uses, with their names.
    pub(super) fn read(library: &object::File<'_>, copies: &[(u64, &str)]) -> CFunctions {
        let mut functions = symbol_table(library);
        if functions.is_empty()
            && let Some(bytes) = debug_file(library).and_then(|path| std::fs::read(path).ok())
            && let Ok(debug) = object::File::parse(bytes.as_slice())
        {
            functions = symbol_table(&debug);
        }
        if functions.is_empty() {
            functions = from_unwind_table(library, copies);
        }
        CFunctions::sorted(functions)
    }

    /// Reads the functions of a library as if its symbol table were removed.
    #[cfg(test)]
    pub(super) fn without_symbol_table(
        library: &object::File<'_>,
        copies: &[(u64, &str)],
    ) -> CFunctions {
        CFunctions::sorted(from_unwind_table(library, copies))
    }

    #[cfg(test)]
    pub(super) fn ranges(&self) -> impl Iterator<Item = (&Range<u64>, &str)> {
        self.0.iter().map(|(range, name)| (range, name.as_str()))
    }

    fn sorted(mut functions: Vec<(Range<u64>, String)>) -> CFunctions {
        functions.sort_by_key(|(range, _)| range.start);
        functions.dedup_by_key(|(range, _)| range.start);
        CFunctions(functions)
    }

    pub(super) fn name(&self, address: u64) -> Option<&str> {
        let after = self.0.partition_point(|(range, _)| range.start <= address);
        let (range, name) = &self.0[after.checked_sub(1)?];
        range.contains(&address).then_some(name.as_str())
    }
}

fn symbol_table(object: &object::File<'_>) -> Vec<(Range<u64>, String)> {
    let function = |symbol: object::Symbol<'_, '_>| {
        let is_function = symbol.kind() == SymbolKind::Text && symbol.size() > 0;
        let name = symbol.name().ok()?;
        let name = name.split('@').next().unwrap_or(name).to_owned();
        is_function.then(|| (symbol.address()..symbol.address() + symbol.size(), name))
    };
    object.symbols().filter_map(function).collect()
}

fn debug_file(library: &object::File<'_>) -> Option<PathBuf> {
    let id: Vec<String> =
        library.build_id().ok()??.iter().map(|byte| format!("{byte:02x}")).collect();
    let (first, rest) = id.split_first()?;
    Some(Path::new(DEBUG_FOLDER).join(first).join(format!("{}.debug", rest.concat())))
}

fn from_unwind_table(
    library: &object::File<'_>,
    copies: &[(u64, &str)],
) -> Vec<(Range<u64>, String)> {
    let mut names: BTreeMap<u64, String> = BTreeMap::new();
    for symbol in library.dynamic_symbols().filter(|symbol| symbol.is_definition()) {
        if let Ok(name) = symbol.name() {
            let name = name.split('@').next().unwrap_or(name).to_owned();
            // Of the names of one function the shortest is the one that users know.
            let known = names.entry(symbol.address()).or_insert_with(|| name.clone());
            if name.len() < known.len() {
                *known = name;
            }
        }
    }
    names.extend(copies.iter().map(|(address, name)| (*address, (*name).to_owned())));
    let ranges = unwind_ranges(library);
    let name_at = |index: usize| names.get(&ranges[index].start).map(String::as_str);
    let is_malloc = |index: usize| name_at(index).is_none_or(|name| MALLOC.contains(&name));
    let malloc = (0..ranges.len()).find(|index| name_at(*index) == Some("malloc"));
    let inner = malloc.map_or(0..0, |at| {
        let first = (0..at).rev().take_while(|index| is_malloc(*index)).last().unwrap_or(at);
        // Behind the last one with a name the next file of the library may begin.
        let after = (at..ranges.len()).take_while(|index| is_malloc(*index));
        let last = after.filter(|index| name_at(*index).is_some()).last().unwrap_or(at);
        first..last + 1
    });
    let named = |(index, range): (usize, &Range<u64>)| {
        let name = name_at(index).or_else(|| inner.contains(&index).then_some("malloc_inner"))?;
        Some((range.clone(), name.to_owned()))
    };
    ranges.iter().enumerate().filter_map(named).collect()
}

/// Returns the ranges of all functions that the unwind table knows, sorted.
fn unwind_ranges(library: &object::File<'_>) -> Vec<Range<u64>> {
    let Some(section) = library.section_by_name(".eh_frame") else { return Vec::new() };
    let Ok(data) = section.data() else { return Vec::new() };
    let bases = BaseAddresses::default().set_eh_frame(section.address());
    let table = EhFrame::from(EndianSlice::new(data, LittleEndian));
    let mut ranges = Vec::new();
    let mut entries = table.entries(&bases);
    while let Ok(Some(entry)) = entries.next() {
        let CieOrFde::Fde(partial) = entry else { continue };
        if let Ok(fde) = partial.parse(gimli::EhFrame::cie_from_offset) {
            let start = fde.initial_address();
            ranges.push(start..start + fde.len());
        }
    }
    ranges.sort_by_key(|range| range.start);
    ranges
}
