//! The news that a worker is shutting down, for whoever waits for it on the worker's thread.

use std::future::Future;
use std::pin::Pin;

use ::tokio::sync::watch;

use crate::driver::DrainSignal;

/// Said once; whoever asks later hears it too. Needs no runtime.
#[derive(Clone, Debug)]
pub(crate) struct Drain(watch::Sender<bool>);

impl Default for Drain {
    fn default() -> Drain {
        Drain(watch::Sender::new(false))
    }
}

impl Drain {
    /// Says it.
    pub(crate) fn start(&self) {
        self.0.send_replace(true);
    }

    /// Whether it has been said.
    pub(crate) fn is_started(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves once it has been said.
    pub(crate) async fn started(self) {
        let mut said = self.0.subscribe();
        // The sender is `self`, so the channel cannot close.
        let _ = said.wait_for(|&said| said).await;
    }
}

impl DrainSignal for Drain {
    fn drained(&self) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(self.clone().started())
    }
}
