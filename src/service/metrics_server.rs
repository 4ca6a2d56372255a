//! Serves `/metrics`, `/readyz` and `/healthz` where `metrics.listen` says.
//!
//! It waits on: changes of `metrics.listen`; connections; the time at which it tries again to listen.
//! That it cannot listen holds nothing else.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::config::{Config, ListenAddress};
use crate::happened::DaemonEvent;
use crate::http::{self, HttpAnswer, Listener};
use crate::metrics::{Counters, EXPOSITION_TYPE, Vitals, exposition};
use crate::reporter::report;

use super::status_keeper::StatusTeller;

/// Between two tries to listen.
const RETRY: Duration = Duration::from_secs(10);

/// Serves, and follows `metrics.listen`.
pub(super) struct MetricsServer {
    listen: watch::Receiver<Option<String>>,
    monitor: Monitor,
}

/// Tells what the status tells, and what is counted.
#[derive(Clone)]
struct Monitor {
    status: StatusTeller,
    counters: Counters,
}

impl MetricsServer {
    /// A server, and where it is told another address.
    pub(super) fn new(
        config: &Config,
        status: &StatusTeller,
        counters: &Counters,
    ) -> (watch::Sender<Option<String>>, Self) {
        let (tell, listen) = watch::channel(config.metrics.listen.clone());
        let monitor = Monitor {
            status: status.clone(),
            counters: counters.clone(),
        };
        (tell, Self { listen, monitor })
    }

    pub(super) async fn run(self) -> Infallible {
        let Self {
            mut listen,
            monitor,
        } = self;
        loop {
            let address = listen.borrow_and_update().clone();
            // The configuration was checked.
            let address = address.and_then(|text| ListenAddress::parse(&text).ok());
            monitor.status.metrics_error(None);
            tokio::select! {
                never = monitor.serve(address) => match never {},
                Ok(()) = listen.changed() => {}
            }
        }
    }
}

impl Monitor {
    async fn serve(&self, address: Option<ListenAddress>) -> Infallible {
        let Some(address) = address else {
            return pending().await;
        };
        let mut told = None;
        loop {
            match Listener::bind(&address).await {
                Ok(listener) => {
                    self.status.metrics_error(None);
                    report(DaemonEvent::MetricsServed(address.to_string()));
                    let monitor = self.clone();
                    return http::serve(&listener, move |path| monitor.answer(path)).await;
                }
                Err(error) => {
                    let error = error.to_string();
                    if told.as_ref() != Some(&error) {
                        report(DaemonEvent::MetricsNotServed(error.clone()));
                        self.status.metrics_error(Some(error.clone()));
                        told = Some(error);
                    }
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// What is said of a path; `None` where there is nothing.
    fn answer(&self, path: &str) -> Option<HttpAnswer> {
        let said = self.status.said();
        let vitals = Vitals {
            phase: said.phase,
            on_board: &said.on_board,
            load: said.load,
        };
        Some(match path {
            "/metrics" => HttpAnswer {
                is_well: true,
                content_type: EXPOSITION_TYPE,
                text: exposition(vitals, &self.counters),
            },
            "/readyz" => match vitals.readiness() {
                Ok(line) => HttpAnswer::line(true, &line),
                Err(reason) => HttpAnswer::line(false, &reason),
            },
            // The process answers: whether that is enough, READY and the watchdog of systemd tell.
            "/healthz" => HttpAnswer::line(true, "ok"),
            _ => return None,
        })
    }
}
