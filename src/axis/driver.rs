//! Axis of drivers: who moves bytes.

use super::layer::Layer;
use super::name::axis;

#[derive(Clone, Copy, Debug)]
pub struct DriverSpec {
    pub name: &'static str,
    pub about: &'static str,
    pub crates: &'static [&'static str],
}

axis! {
    /// Mover of bytes. The room `driver` has a type for each.
    Driver, "driver", DriverSpec;

    Uring {
        name: "uring",
        about: "own reactor on io_uring, one ring per worker",
        crates: &["io-uring"],
    }
    Tokio {
        name: "tokio",
        about: "tokio, epoll, current-thread",
        crates: &["tokio"],
    }
    TokioUring {
        name: "tokio-uring",
        about: "the tokio-uring crate",
        crates: &["tokio", "tokio-uring"],
    }
}

impl Driver {
    /// Layers in which two drivers may differ. A driver decides how bytes reach a program: calls,
    /// buffers and wake-ups. It does not see what they mean.
    pub const LAYERS: &[Layer] = &[
        Layer::Runtime,
        Layer::UserCopies,
        Layer::PageFaults,
        Layer::SystemCallEntry,
        Layer::KernelSocket,
        Layer::KernelCopy,
        Layer::KernelRing,
        Layer::Scheduler,
    ];
}
