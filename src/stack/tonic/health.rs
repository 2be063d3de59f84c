//! `grpc.health.v1` by the crate of tonic, which follows the shutdown of the worker.

use std::future::Future;

use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::generated::calculator_server::SERVICE_NAME;
use crate::stack::standalone::Shutdown;

/// Name of the status of all services.
const WHOLE_SERVER: &str = "";

/// Makes the service of `grpc.health.v1`, and the work that keeps it up to date.
pub(super) fn health(
    shutdown: &Shutdown,
) -> (HealthServer<HealthService>, impl Future<Output = ()> + Send + use<>) {
    let mut reporter = HealthReporter::new();
    let health = HealthServer::new(HealthService::from_health_reporter(reporter.clone()));
    let (unready, drain) = (shutdown.unready(), shutdown.drain());
    let reporting = async move {
        reporter.set_service_status(SERVICE_NAME, ServingStatus::Serving).await;
        unready.await;
        for service in [WHOLE_SERVER, SERVICE_NAME] {
            reporter.set_service_status(service, ServingStatus::NotServing).await;
        }
        drain.await;
        // A call of `Watch` ends with the status that it watches.
        reporter.clear_service_status(WHOLE_SERVER).await;
        reporter.clear_service_status(SERVICE_NAME).await;
    };
    (health, reporting)
}
