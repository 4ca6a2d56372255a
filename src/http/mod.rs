//! A small HTTP server: short texts, on a TCP address or a Unix socket, to any client.
//!
//! ```text
//!   ListenAddress -> Listener::bind -> serve: each connection is a task, has one answer, and ends soon
//! ```
//!
//! What a client can cost is bounded: connections (the oldest makes room for the newest), the time that
//! each has for its request and in all, and the length of its headers. Bodies are not read.

mod connection;
mod listener;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

pub use connection::HttpAnswer;
pub use listener::{BindError, Listener};

/// So many connections are open at once.
const CONNECTIONS: usize = 32;
/// After a connection could not be accepted: mostly the process has no file descriptor left.
const REST: Duration = Duration::from_millis(200);

/// Serves what `answer` says of each path, until it is dropped; then no connection is left.
///
/// Waits on: connections that come, and those that end.
pub async fn serve<A>(listener: &Listener, answer: A) -> Infallible
where
    A: Fn(&str) -> Option<HttpAnswer> + Clone + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut oldest = VecDeque::<AbortHandle>::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok(stream) = accepted else {
                    sleep(REST).await;
                    continue;
                };
                oldest.retain(|connection| !connection.is_finished());
                if oldest.len() >= CONNECTIONS
                    && let Some(connection) = oldest.pop_front()
                {
                    connection.abort();
                }
                let served = connection::serve(stream, answer.clone());
                oldest.push_back(connections.spawn(served));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
