//! Names of the kernel's functions, by address.

use std::io;

/// Functions in the order of their addresses.
#[derive(Debug, Default)]
pub(super) struct KernelSymbols(Vec<(u64, String)>);

impl KernelSymbols {
    /// Reads the table of the running kernel. It is empty if the kernel hides its addresses from
    /// this user (`kernel.kptr_restrict`).
    pub(super) fn read() -> io::Result<KernelSymbols> {
        Ok(KernelSymbols::parse(&std::fs::read_to_string("/proc/kallsyms")?))
    }

    fn parse(text: &str) -> KernelSymbols {
        let function = |line: &str| {
            let mut words = line.split_ascii_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            let kind = words.next()?;
            let is_code = kind.eq_ignore_ascii_case("t") || kind.eq_ignore_ascii_case("w");
            let name = words.next()?;
            (address > 0 && is_code).then(|| (address, name.to_owned()))
        };
        let mut functions: Vec<(u64, String)> = text.lines().filter_map(function).collect();
        functions.sort_by_key(|(address, _)| *address);
        KernelSymbols(functions)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds the function of an address, without the suffixes of the compiler's copies.
    pub(super) fn name(&self, address: u64) -> Option<&str> {
        let after = self.0.partition_point(|(start, _)| *start <= address);
        let name = self.0[after.checked_sub(1)?].1.as_str();
        Some(name.split('.').next().unwrap_or(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_the_function_that_starts_before_it() {
        let symbols = KernelSymbols::parse(
            "ffffffff81000100 T tcp_sendmsg\nffffffff81000200 t tcp_rcv.isra.0\n\
             ffffffff81000180 D not_code\n0000000000000000 A hidden\n",
        );
        assert_eq!(symbols.name(0xffff_ffff_8100_0050), None);
        assert_eq!(symbols.name(0xffff_ffff_8100_01ff), Some("tcp_sendmsg"));
        assert_eq!(symbols.name(0xffff_ffff_8100_0200), Some("tcp_rcv"));
    }

    #[test]
    fn hidden_addresses_make_an_empty_table() {
        assert!(KernelSymbols::parse("0000000000000000 T tcp_sendmsg\n").is_empty());
    }
}
