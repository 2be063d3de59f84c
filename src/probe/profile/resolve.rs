//! From the addresses of a recording to the functions on each sample's stack.

use std::collections::HashMap;
use std::rc::Rc;

use framehop::Unwinder as _;
use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};

use super::classify::{Frame, Place};
use super::kernel_symbols::KernelSymbols;
use super::modules::Module;
use super::perf_file::{Mapping, Sample, UserState};
use super::program_file;
use super::python::{self, PythonFunction};

/// Return addresses of a stack that are looked at. The layer is decided near the innermost one.
const DEPTH_MAX: usize = 64;

pub(super) struct Resolver {
    modules: Vec<Module>,
    /// In the order of their addresses.
    python: Vec<PythonFunction>,
    unwinder: UnwinderX86_64<Rc<[u8]>>,
    cache: CacheX86_64,
    kernel: Rc<KernelSymbols>,
    /// Functions at an address that was asked for before.
    known: HashMap<u64, Rc<[Frame]>>,
}

impl Resolver {
    pub(super) fn new(mappings: &[Mapping]) -> Resolver {
        let mut unwinder = UnwinderX86_64::new();
        let (mut modules, mut python) = (Vec::new(), Vec::new());
        let mut opened: Vec<&Mapping> = Vec::new();
        for mapping in mappings {
            if opened.contains(&mapping) {
                continue;
            }
            opened.push(mapping);
            if python::is_names_file(&mapping.path)
                && let Some((file, _)) = program_file::open(mapping)
            {
                python = python::functions(&file);
                python.iter().for_each(|function| unwinder.add_module(function.unwinding()));
                continue;
            }
            let (module, unwinding) = Module::open(mapping);
            modules.push(module);
            if let Some(unwinding) = unwinding {
                unwinder.add_module(unwinding);
            }
        }
        let kernel = program_file::kernel_symbols();
        let (cache, known) = (CacheX86_64::new(), HashMap::new());
        Resolver { modules, python, unwinder, cache, kernel, known }
    }

    pub(super) fn knows_kernel(&self) -> bool {
        !self.kernel.is_empty()
    }

    /// Returns the functions on the stack of a sample, the innermost first.
    pub(super) fn stack(&mut self, sample: &Sample) -> Vec<Frame> {
        let mut frames: Vec<Frame> = Vec::new();
        for address in &sample.kernel {
            let function = self.kernel.name(*address).unwrap_or_default().to_owned();
            frames.push(Frame { place: Place::Kernel, function });
        }
        if let Some(user) = &sample.user {
            for address in self.unwind(user) {
                frames.extend(self.functions(address).iter().cloned());
            }
        }
        frames
    }

    fn unwind(&mut self, user: &UserState) -> Vec<u64> {
        let registers = UnwindRegsX86_64::new(user.ip, user.sp, user.bp);
        let mut word = |address| user.word(address).ok_or(());
        let mut frames = self.unwinder.iter_frames(user.ip, registers, &mut self.cache, &mut word);
        let mut addresses = Vec::new();
        // An error is the end of the recorded part of the stack.
        while let Ok(Some(frame)) = frames.next() {
            addresses.push(frame.address_for_lookup());
            if addresses.len() == DEPTH_MAX {
                break;
            }
        }
        addresses
    }

    fn functions(&mut self, address: u64) -> Rc<[Frame]> {
        if let Some(known) = self.known.get(&address) {
            return Rc::clone(known);
        }
        // Trampolines of Python lie in a mapping without a file.
        let frames = match python::find(&self.python, address) {
            Some(function) => [function.frame.clone()].into(),
            None => {
                let module = self.modules.iter().find(|module| module.contains(address));
                module.map_or_else(|| [].into(), |module| module.frames(address))
            }
        };
        self.known.insert(address, Rc::clone(&frames));
        frames
    }
}
