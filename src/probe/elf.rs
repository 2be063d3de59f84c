//! Addresses of functions in a shared library (ELF, 64 bits).

use object::read::elf::ElfFile64;
use object::{Endianness, Object as _, ObjectSegment as _, ObjectSymbol as _};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    /// Offset from the address at which the library is loaded.
    pub(super) address: u64,
    pub(super) code: [u8; 8],
}

/// Returns the functions whose names are in `names`, one per address; none if this is not ELF64.
pub(super) fn functions<'a>(library: &[u8], names: &[&'a str]) -> Vec<Function<'a>> {
    let Ok(library) = ElfFile64::<Endianness>::parse(library) else { return Vec::new() };
    let code = |address| {
        let loaded =
            library.segments().find_map(|segment| segment.data_range(address, 8).ok().flatten());
        loaded?.try_into().ok()
    };
    let mut found: Vec<Function<'a>> = Vec::new();
    for symbol in library.dynamic_symbols().filter(|symbol| symbol.is_definition()) {
        let address = symbol.address();
        let has_name = |name: &&&str| symbol.name() == Ok(**name);
        let is_known = found.iter().any(|other| other.address == address);
        if let Some(name) = names.iter().find(has_name).filter(|_| !is_known)
            && let Some(code) = code(address)
        {
            found.push(Function { name, address, code });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn other_bytes_have_no_functions() {
        let names = ["malloc"];
        assert_eq!(functions(b"", &names), []);
        assert_eq!(functions(b"\x7fELF\x02\x01", &names), []);
        assert_eq!(functions(&[0xff; 4096], &names), []);
        let Some(mut library) = libc() else { return };
        for cut in [16, 63, 64, 100, 1000, library.len() / 2, library.len() - 1] {
            functions(&library[..cut], &names);
        }
        // Tables beyond the end of the file, or at an overflowing offset.
        library[40..48].fill(0xff);
        assert_eq!(functions(&library, &names), []);
    }
}
