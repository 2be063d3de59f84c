//! Traps at the C library's allocating functions in another process, so that its allocations can be counted.
//!
//! A trap is a breakpoint: the first byte of the function gives way to `int3`, and a thread that comes by stops. To let
//! it go on, the byte is put back, the thread makes one step, and the trap is set again; another thread that comes by
//! meanwhile is not counted, so counts are exact for servers with one busy thread. Needs no help from the process, so
//! any build can be counted that gets its memory from the C library it is linked with dynamically; of any other, and on
//! other processors than x86-64, there are no traps.
//!
//! Every call needs a thread of the process that is stopped under this tracer.

use std::io;

use nix::sys::ptrace;
use nix::unistd::Pid;
use procfs::process::{MMapPath, Process};

use crate::record::Allocations;

use super::elf;

/// Functions that allocate.
const FUNCTIONS: [&str; 6] =
    ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"];

/// Makes a thread stop.
const INT3: u8 = 0xcc;

/// The traps of one process.
#[derive(Debug, Default)]
pub(super) struct Traps {
    traps: Vec<Trap>,
    /// What has run into them.
    pub(super) counted: Allocations,
}

#[derive(Debug)]
struct Trap {
    function: &'static str,
    address: u64,
    /// What stands there without the trap.
    code: [u8; 8],
}

/// Where a trap is, among those of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(usize);

impl Traps {
    /// Finds the functions in process `pid` and sets nothing yet; without any there is nothing to count by.
    pub(super) fn find(pid: u32) -> io::Result<Traps> {
        if !cfg!(target_arch = "x86_64") {
            return Ok(Traps::default());
        }
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        let maps = Process::new(pid).and_then(|process| process.maps());
        for map in maps.map_err(io::Error::other)? {
            let MMapPath::Path(path) = &map.pathname else { continue };
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if map.offset == 0 && (name.starts_with("libc.so") || name.starts_with("libc-2")) {
                let functions = elf::functions(&std::fs::read(path)?, &FUNCTIONS);
                let trap = |function: elf::Function<'static>| Trap {
                    function: function.name,
                    address: map.address.0 + function.address,
                    code: function.code,
                };
                return Ok(Traps {
                    traps: functions.into_iter().map(trap).collect(),
                    counted: Allocations::default(),
                });
            }
        }
        Ok(Traps::default())
    }

    /// True when there is something to count by.
    pub(super) fn is_any(&self) -> bool {
        !self.traps.is_empty()
    }

    /// Sets all of them. One whose function is not what the library's file says is given up.
    pub(super) fn set(&mut self, stopped: Pid) -> nix::Result<()> {
        let mut set = Vec::new();
        for trap in std::mem::take(&mut self.traps) {
            if ptrace::read(stopped, trap.at())?.to_le_bytes() == trap.code {
                trap.arm(stopped)?;
                set.push(trap);
            }
        }
        self.traps = set;
        Ok(())
    }

    /// Puts back what was there.
    pub(super) fn clear(&self, stopped: Pid) -> nix::Result<()> {
        self.traps.iter().try_for_each(|trap| trap.disarm(stopped))
    }

    /// The trap that thread `stopped` has run into, if it has; counts it, and lets it begin the function without it.
    pub(super) fn hit(&mut self, stopped: Pid) -> nix::Result<Option<Place>> {
        let Some(place) = self.is_at(stopped)? else { return Ok(None) };
        let trap = &self.traps[place.0];
        self.counted.count += 1;
        self.counted.bytes += registers::asked(stopped, trap.function)?;
        trap.disarm(stopped)?;
        registers::go_to(stopped, trap.address)?;
        Ok(Some(place))
    }

    /// The trap that thread `stopped` stands behind.
    pub(super) fn is_at(&self, stopped: Pid) -> nix::Result<Option<Place>> {
        if self.traps.is_empty() {
            return Ok(None);
        }
        let at = registers::place(stopped)?;
        Ok(self.traps.iter().position(|trap| trap.address + 1 == at).map(Place))
    }

    /// Sets one again behind which a thread has made its step.
    pub(super) fn rearm(&self, stopped: Pid, place: Place) -> nix::Result<()> {
        self.traps[place.0].arm(stopped)
    }
}

impl Trap {
    fn at(&self) -> ptrace::AddressType {
        self.address as ptrace::AddressType
    }

    fn arm(&self, stopped: Pid) -> nix::Result<()> {
        let mut code = self.code;
        code[0] = INT3;
        self.write(stopped, code)
    }

    fn disarm(&self, stopped: Pid) -> nix::Result<()> {
        self.write(stopped, self.code)
    }

    fn write(&self, stopped: Pid, code: [u8; 8]) -> nix::Result<()> {
        ptrace::write(stopped, self.at(), i64::from_le_bytes(code))
    }
}

#[cfg(target_arch = "x86_64")]
mod registers {
    //! What the registers of a stopped thread say, by the calling convention of x86-64.

    use nix::sys::ptrace;
    use nix::unistd::Pid;

    /// Where it goes on.
    pub(super) fn place(stopped: Pid) -> nix::Result<u64> {
        Ok(ptrace::getregs(stopped)?.rip)
    }

    /// Has it go on at `address`.
    pub(super) fn go_to(stopped: Pid, address: u64) -> nix::Result<()> {
        let mut registers = ptrace::getregs(stopped)?;
        registers.rip = address;
        ptrace::setregs(stopped, registers)
    }

    /// Bytes that it asks `function` for.
    pub(super) fn asked(stopped: Pid, function: &str) -> nix::Result<u64> {
        let registers = ptrace::getregs(stopped)?;
        Ok(match function {
            "malloc" => registers.rdi,
            "calloc" => registers.rdi.saturating_mul(registers.rsi),
            "posix_memalign" => registers.rdx,
            _ => registers.rsi,
        })
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod registers {
    //! Nothing has a trap here.

    use nix::errno::Errno;
    use nix::unistd::Pid;

    pub(super) fn place(_: Pid) -> nix::Result<u64> {
        Err(Errno::ENOTSUP)
    }

    pub(super) fn go_to(_: Pid, _: u64) -> nix::Result<()> {
        Err(Errno::ENOTSUP)
    }

    pub(super) fn asked(_: Pid, _: &str) -> nix::Result<u64> {
        Err(Errno::ENOTSUP)
    }
}
