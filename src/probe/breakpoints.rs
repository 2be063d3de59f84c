//! Breakpoints at the C library's allocating functions in another process, to count allocations.
//!
//! `int3` replaces the first byte of a function and stops a thread that calls it. The byte is
//! restored for one step of the thread; calls of other threads during that step are not counted. A
//! process must be linked dynamically with the C library that allocates for it; for others, and on
//! other processors than x86-64, no breakpoint is found. The tracer has stopped each `stopped`.

use std::io;

use nix::sys::ptrace;
use nix::unistd::Pid;
use procfs::process::MMapPath;
use serde::{Deserialize, Serialize};

use super::elf;
use super::process_tree::{io_error, process};

const ALLOCATING_FUNCTIONS: [&str; 6] =
    ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"];

const INT3: u8 = 0xcc;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocations {
    pub count: u64,
    pub bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Breakpoints {
    breakpoints: Vec<Breakpoint>,
    pub(super) counted: Allocations,
}

#[derive(Debug)]
struct Breakpoint {
    function: &'static str,
    address: u64,
    code: [u8; 8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BreakpointId(usize);

impl Breakpoints {
    /// Finds the functions and sets no breakpoint yet.
    pub(super) fn find(pid: u32) -> io::Result<Breakpoints> {
        if !cfg!(target_arch = "x86_64") {
            return Ok(Breakpoints::default());
        }
        for map in process(pid)?.maps().map_err(io_error)? {
            let MMapPath::Path(path) = &map.pathname else { continue };
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if map.offset == 0 && (name.starts_with("libc.so") || name.starts_with("libc-2")) {
                let functions = elf::functions(&std::fs::read(path)?, &ALLOCATING_FUNCTIONS);
                let breakpoint = |function: elf::Function<'static>| Breakpoint {
                    function: function.name,
                    address: map.address.0 + function.address,
                    code: function.code,
                };
                return Ok(Breakpoints {
                    breakpoints: functions.into_iter().map(breakpoint).collect(),
                    counted: Allocations::default(),
                });
            }
        }
        Ok(Breakpoints::default())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.breakpoints.is_empty()
    }

    /// Sets all breakpoints. Drops those whose code in memory differs from the library's file.
    pub(super) fn set(&mut self, stopped: Pid) -> nix::Result<()> {
        let mut failure = None;
        self.breakpoints.retain(|breakpoint| match ptrace::read(stopped, breakpoint.pointer()) {
            Ok(code) => code.to_le_bytes() == breakpoint.code,
            Err(error) => {
                failure = Some(error);
                false
            }
        });
        failure.map_or(Ok(()), Err)?;
        self.breakpoints.iter().try_for_each(|breakpoint| breakpoint.arm(stopped))
    }

    pub(super) fn clear(&self, stopped: Pid) -> nix::Result<()> {
        self.breakpoints.iter().try_for_each(|breakpoint| breakpoint.disarm(stopped))
    }

    /// Handles a stop at a breakpoint: counts the call, disarms the breakpoint and moves the thread
    /// back to the first instruction. Returns `None` if the thread is not at a breakpoint.
    pub(super) fn hit(&mut self, stopped: Pid) -> nix::Result<Option<BreakpointId>> {
        let Some(id) = self.current(stopped)? else { return Ok(None) };
        let breakpoint = &self.breakpoints[id.0];
        self.counted.count += 1;
        self.counted.bytes += registers::requested_bytes(stopped, breakpoint.function)?;
        breakpoint.disarm(stopped)?;
        registers::jump(stopped, breakpoint.address)?;
        Ok(Some(id))
    }

    /// Returns the breakpoint directly before the instruction pointer of thread `stopped`.
    pub(super) fn current(&self, stopped: Pid) -> nix::Result<Option<BreakpointId>> {
        if self.breakpoints.is_empty() {
            return Ok(None);
        }
        let next = registers::instruction_pointer(stopped)?;
        let is_current = |breakpoint: &Breakpoint| breakpoint.address + 1 == next;
        Ok(self.breakpoints.iter().position(is_current).map(BreakpointId))
    }

    /// Moves a thread that has just hit a breakpoint back to the first instruction.
    pub(super) fn step_back(&self, stopped: Pid) -> nix::Result<()> {
        match self.current(stopped)? {
            Some(id) => registers::jump(stopped, self.breakpoints[id.0].address),
            None => Ok(()),
        }
    }

    pub(super) fn rearm(&self, stopped: Pid, id: BreakpointId) -> nix::Result<()> {
        self.breakpoints[id.0].arm(stopped)
    }
}

impl Breakpoint {
    fn pointer(&self) -> ptrace::AddressType {
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
        ptrace::write(stopped, self.pointer(), i64::from_le_bytes(code))
    }
}

/// Returns the number of the system call at whose entry or exit a thread stopped.
pub(super) fn system_call(stopped: Pid) -> nix::Result<u64> {
    registers::system_call(stopped)
}

#[cfg(target_arch = "x86_64")]
mod registers {
    //! Registers of a stopped thread, by the calling convention of x86-64.

    use nix::sys::ptrace;
    use nix::unistd::Pid;

    pub(super) fn instruction_pointer(stopped: Pid) -> nix::Result<u64> {
        Ok(ptrace::getregs(stopped)?.rip)
    }

    pub(super) fn system_call(stopped: Pid) -> nix::Result<u64> {
        Ok(ptrace::getregs(stopped)?.orig_rax)
    }

    pub(super) fn jump(stopped: Pid, address: u64) -> nix::Result<()> {
        let mut registers = ptrace::getregs(stopped)?;
        registers.rip = address;
        ptrace::setregs(stopped, registers)
    }

    pub(super) fn requested_bytes(stopped: Pid, function: &str) -> nix::Result<u64> {
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
    //! Stand-in for processors on which no breakpoint is set.

    use nix::errno::Errno;
    use nix::unistd::Pid;

    pub(super) fn instruction_pointer(_: Pid) -> nix::Result<u64> {
        Err(Errno::ENOTSUP)
    }

    pub(super) fn system_call(_: Pid) -> nix::Result<u64> {
        Err(Errno::ENOTSUP)
    }

    pub(super) fn jump(_: Pid, _: u64) -> nix::Result<()> {
        Err(Errno::ENOTSUP)
    }

    pub(super) fn requested_bytes(_: Pid, _: &str) -> nix::Result<u64> {
        Err(Errno::ENOTSUP)
    }
}
