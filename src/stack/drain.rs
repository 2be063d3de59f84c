//! Begin of a connection's end in a shutdown, the same for every *service*.

use std::future::Future;

use crate::driver::WorkerHandle;
use crate::service::echo::EchoService;

/// Resolves when a connection is to take no further requests: some time after the shutdown has
/// begun, in which health says so and requests that were sent before it may arrive.
pub(super) fn drained(
    worker: &WorkerHandle,
    service: &EchoService,
) -> impl Future<Output = ()> + use<> {
    let (worker, service) = (worker.clone(), service.clone());
    async move {
        worker.drained().await;
        service.drain();
        worker.sleep_until(worker.now() + service.limits().drain_grace).await;
    }
}
