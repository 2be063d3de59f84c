//! Memory allocators of a server process, each chosen by variables of the process's environment.

use super::layer::Layer;
use super::name::axis;

#[derive(Clone, Copy, Debug)]
pub struct MallocSpec {
    pub name: &'static str,
    pub about: &'static str,
    pub environment: &'static [(&'static str, &'static str)],
}

axis! {
    /// Memory allocator of a server process. glibc reads the variables of `Keep` (mallopt(3)), so
    /// they also reach programs that are not ours; only our own programs read `NDECHO_MALLOC`.
    Malloc, "malloc", MallocSpec;

    Default { name: "default", about: "malloc of the C library, as it is", environment: &[] }
    Keep {
        name: "keep",
        about: "glibc's malloc, told to keep its pages instead of returning them to the kernel",
        environment: &[
            ("MALLOC_MMAP_THRESHOLD_", "1073741824"),
            ("MALLOC_TRIM_THRESHOLD_", "1073741824"),
            ("MALLOC_TOP_PAD_", "67108864"),
        ],
    }
    Mimalloc {
        name: "mimalloc",
        about: "mimalloc, in our own programs",
        environment: &[("NDECHO_MALLOC", "mimalloc")],
    }
}

impl Malloc {
    /// Layers in which two allocators may differ: the allocator itself, the copies of a `realloc`,
    /// and the pages and calls that it takes from the kernel.
    pub const LAYERS: &[Layer] =
        &[Layer::Allocator, Layer::UserCopies, Layer::PageFaults, Layer::SystemCallEntry];
}
