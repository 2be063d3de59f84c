//! Axis of transports: what carries the bytes of a connection.
//!
//! TCP is the default: a rung's name leaves it out, and so does a URL's scheme.

use super::layer::Layer;
use super::name::axis;

#[derive(Clone, Copy, Debug)]
pub struct TransportSpec {
    pub name: &'static str,
    pub about: &'static str,
}

axis! {
    Transport, "transport", TransportSpec;

    Tcp {
        name: "tcp",
        about: "TCP socket",
    }
    Unix {
        name: "unix",
        about: "Unix socket",
    }
}

impl Transport {
    /// Layers in which two transports may differ: all of them in the kernel.
    pub const LAYERS: &[Layer] = &[
        Layer::PageFaults,
        Layer::SystemCallEntry,
        Layer::KernelSocket,
        Layer::KernelCopy,
        Layer::KernelRing,
        Layer::Scheduler,
    ];
}
