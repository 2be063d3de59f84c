//! Where a shared library has its functions: as much of ELF as that takes, 64 bits and little-endian.
//!
//! It reads bytes and touches no process. Whatever does not fit the format is a library without functions.

/// A function of a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Function<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its address, from where the library's beginning is loaded.
    pub(super) address: u64,
    /// Its first instructions.
    pub(super) code: [u8; 8],
}

/// Bytes of a section's head.
const SECTION_LEN: usize = 64;

/// Bytes of a segment's head.
const SEGMENT_LEN: usize = 56;

/// Bytes of a symbol.
const SYMBOL_LEN: usize = 24;

/// Type of the section that lists what a library gives to others.
const DYNAMIC_SYMBOLS: u32 = 11;

/// Type of a segment that is loaded.
const LOADED: u32 = 1;

/// Type of a symbol that is a function.
const FUNCTION: u8 = 2;

/// The functions of `library` that are called one of `names`, each once by address.
pub(super) fn functions<'a>(library: &[u8], names: &[&'a str]) -> Vec<Function<'a>> {
    let mut found: Vec<Function<'a>> = Vec::new();
    for section in heads(library, 40, 60, SECTION_LEN) {
        if number(section, 4, 4) == Some(u64::from(DYNAMIC_SYMBOLS)) {
            for function in listed(library, section, names).into_iter().flatten() {
                if !found.iter().any(|other| other.address == function.address) {
                    found.push(function);
                }
            }
        }
    }
    found
}

/// What the symbol table behind `section` has of `names`.
fn listed<'a>(library: &[u8], section: &[u8], names: &[&'a str]) -> Option<Vec<Function<'a>>> {
    let symbols = contents(library, section)?;
    let link = usize::try_from(number(section, 40, 4)?).ok()?;
    let texts = contents(library, heads(library, 40, 60, SECTION_LEN).nth(link)?)?;
    let function = |symbol: &[u8]| {
        let text = texts.get(number(symbol, 0, 4)? as usize..)?;
        let is_it = |name: &&&str| {
            text.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
        };
        let name = *names.iter().find(is_it)?;
        let address = number(symbol, 8, 8)?;
        let is_here = symbol.get(4)? & 15 == FUNCTION && number(symbol, 6, 2)? != 0;
        is_here.then_some(Function { name, address, code: code(library, address)? })
    };
    Some(symbols.chunks_exact(SYMBOL_LEN).filter_map(function).collect())
}

/// The heads of the table whose place and number of entries stand at `place_at` and `count_at`.
fn heads(
    library: &[u8],
    place_at: usize,
    count_at: usize,
    len: usize,
) -> impl Iterator<Item = &[u8]> {
    let is_elf = library.starts_with(b"\x7fELF\x02\x01");
    let start = number(library, place_at, 8).and_then(|start| usize::try_from(start).ok());
    let count = number(library, count_at, 2).unwrap_or_default() as usize;
    let table = start.filter(|_| is_elf).and_then(|start| library.get(start..));
    table.unwrap_or_default().chunks_exact(len).take(count)
}

/// The bytes of a section.
fn contents<'a>(library: &'a [u8], section: &[u8]) -> Option<&'a [u8]> {
    let start = usize::try_from(number(section, 24, 8)?).ok()?;
    library.get(start..start.checked_add(usize::try_from(number(section, 32, 8)?).ok()?)?)
}

/// The bytes that are loaded at `address`.
fn code(library: &[u8], address: u64) -> Option<[u8; 8]> {
    let start = heads(library, 32, 56, SEGMENT_LEN).find_map(|segment| {
        let within = address.checked_sub(number(segment, 16, 8)?)?;
        let is_it = number(segment, 0, 4)? == u64::from(LOADED) && within < number(segment, 32, 8)?;
        usize::try_from(number(segment, 8, 8)?.checked_add(within)?).ok().filter(|_| is_it)
    })?;
    library.get(start..start.checked_add(8)?)?.try_into().ok()
}

/// The number of `len` bytes at `at`.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(len)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The library that this very program calls.
    fn libc() -> Option<Vec<u8>> {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux has it");
        let path = maps.split_whitespace().find(|word| word.contains("/libc.so"))?;
        std::fs::read(path).ok()
    }

    #[test]
    fn functions_are_found_by_their_whole_name() {
        let Some(library) = libc() else { return };
        let found = functions(&library, &["malloc", "calloc", "mallo", "no_such_function"]);
        let mut names: Vec<&str> = found.iter().map(|function| function.name).collect();
        names.sort_unstable();
        assert_eq!(names, ["calloc", "malloc"]);
        assert!(found.iter().all(|function| function.address > 0 && function.code != [0; 8]));
    }

    #[test]
    fn what_is_no_library_has_no_functions() {
        let names = ["malloc"];
        assert_eq!(functions(b"", &names), []);
        assert_eq!(functions(b"\x7fELF\x02\x01", &names), []);
        assert_eq!(functions(&[0xff; 4096], &names), []);
        let Some(mut library) = libc() else { return };
        for cut in [16, 63, 64, 100, 1000, library.len() / 2, library.len() - 1] {
            functions(&library[..cut], &names);
        }
        // Tables that lie beyond its end, or overflow.
        library[40..48].fill(0xff);
        assert_eq!(functions(&library, &names), []);
    }
}
