//! Memory allocator of our own programs: the C library's, or mimalloc if the environment asks for
//! it. The first allocation reads the environment and the choice never changes, so memory always
//! returns to the allocator that gave it.
#![allow(unsafe_code)] // A global allocator has no safe form.

use std::alloc::{GlobalAlloc, Layout, System};
use std::env;
use std::ffi::CStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use mimalloc::MiMalloc;

use crate::axis::Malloc;

/// Global allocator of a program; the programs in `src/bin/` name it.
#[derive(Debug)]
pub struct ChosenMalloc;

const UNKNOWN: u8 = 0;
const SYSTEM: u8 = 1;
const MIMALLOC: u8 = 2;

static CHOICE: AtomicU8 = AtomicU8::new(UNKNOWN);

#[inline(always)]
fn is_mimalloc() -> bool {
    match CHOICE.load(Ordering::Relaxed) {
        SYSTEM => false,
        MIMALLOC => true,
        _ => choose(),
    }
}

#[cold]
fn choose() -> bool {
    // SAFETY: the name ends with a zero. A program allocates before it starts its first thread, so
    // no other thread changes the environment meanwhile.
    let value = unsafe { libc::getenv(c"NDECHO_MALLOC".as_ptr()) };
    // SAFETY: a value that is there ends with a zero and is not changed before it is compared.
    let is_asked = !value.is_null() && unsafe { CStr::from_ptr(value) } == c"mimalloc";
    CHOICE.store(if is_asked { MIMALLOC } else { SYSTEM }, Ordering::Relaxed);
    is_asked
}

// SAFETY: each method calls the same method of one of two allocators, and always of the same one.
unsafe impl GlobalAlloc for ChosenMalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { if is_mimalloc() { MiMalloc.alloc(layout) } else { System.alloc(layout) } }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            if is_mimalloc() { MiMalloc.alloc_zeroed(layout) } else { System.alloc_zeroed(layout) }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe {
            if is_mimalloc() {
                MiMalloc.dealloc(memory, layout);
            } else {
                System.dealloc(memory, layout);
            }
        }
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            if is_mimalloc() {
                MiMalloc.realloc(memory, layout, len)
            } else {
                System.realloc(memory, layout, len)
            }
        }
    }
}

/// Sets the variables that choose `malloc` and removes those of the other allocators.
pub fn set(command: &mut Command, malloc: Malloc) {
    for (name, _) in Malloc::ALL.iter().flat_map(|other| other.spec().environment) {
        command.env_remove(name);
    }
    command.envs(malloc.spec().environment.iter().copied());
}

/// Starts this program again, in the same process, if its environment does not ask for `malloc`.
/// Returns an error if the program cannot be started.
pub fn adopt(malloc: Malloc) -> io::Result<()> {
    let environment = malloc.spec().environment;
    if environment.iter().all(|(name, value)| env::var_os(name).is_some_and(|is| is == *value)) {
        return Ok(());
    }
    let mut arguments = env::args_os();
    let mut command = Command::new(env::current_exe()?);
    command.arg0(arguments.next().unwrap_or_default()).args(arguments);
    set(&mut command, malloc);
    Err(command.exec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_replaces_another_one() {
        let mut command = Command::new("server");
        Malloc::ALL.into_iter().for_each(|malloc| set(&mut command, malloc));
        let wanted = Malloc::Mimalloc.spec().environment;
        for (name, value) in command.get_envs() {
            let pair = wanted.iter().find(|(wanted, _)| *wanted == name);
            assert_eq!(value.and_then(|value| value.to_str()), pair.map(|(_, value)| *value));
        }
        assert_eq!(command.get_envs().count(), 4, "every variable is set or removed");
    }
}
