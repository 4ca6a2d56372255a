//! containerd's events that tell of deleted images (`core/events/exchange`).
//!
//! A subscription replays nothing, and containerd does not say when it has begun: the call is answered
//! with its first event. So stowd publishes an event of its own until one is heard, and what was deleted
//! before is found by comparing with what containerd lists. containerd queues what a subscriber does not
//! read, without a limit: events are read at once, and what is kept of them is that there was one.
//!
//! Only deletions are asked for: none of stowd's own writes comes back as an event.

use std::pin::pin;
use std::time::Duration;

use containerd_client::services::v1::{PublishRequest, SubscribeRequest};
use containerd_client::types::Envelope;
use tokio::time::{sleep, timeout};
use tonic::Streaming;

use super::client::{Containerd, answered};
use super::failure::{CallFailure, FailureKind};
use super::leases::new_id;

const DELETED: &str = "/images/delete";

const SUBSCRIBE: &str = "Events.Subscribe";

/// Between two tries to hear an own event, which is twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A subscription that is known to work.
pub(super) struct Deletions {
    events: Streaming<Envelope>,
}

impl Containerd {
    /// Subscribes to the deletions of images, and returns when an event has been heard.
    pub(super) async fn subscribe_deletions(&self) -> Result<Deletions, CallFailure> {
        let own = format!("/stowd/{}", new_id("heard"));
        let heard = async {
            tokio::select! {
                subscribed = self.subscribe(&own) => subscribed,
                failure = self.publish_again_and_again(&own) => Err(failure),
            }
        };
        let within = self.deadlines().heard;
        timeout(within, heard).await.unwrap_or_else(|_| {
            Err(CallFailure {
                call: SUBSCRIBE,
                kind: FailureKind::Other,
                cause: format!("an event that was published has not come within {within:?}"),
            })
        })
    }

    async fn subscribe(&self, own: &str) -> Result<Deletions, CallFailure> {
        let namespace = self.namespace();
        // In quotes: a slash would begin a quotation (containerd, `pkg/filters`).
        let filters =
            [DELETED, own].map(|topic| format!(r#"namespace=="{namespace}",topic=="{topic}""#));
        let request = SubscribeRequest {
            filters: filters.into(),
        };
        let opened = self.events().subscribe(request).await;
        let opened = opened.map_err(|status| CallFailure::of(SUBSCRIBE, &status))?;
        let mut deletions = Deletions {
            events: opened.into_inner(),
        };
        deletions.next().await?;
        Ok(deletions)
    }

    /// Publishes an event that nothing but stowd asks for. Returns when that fails.
    async fn publish_again_and_again(&self, topic: &str) -> CallFailure {
        let mut pause = FIRST_PAUSE;
        loop {
            let request = PublishRequest {
                topic: topic.to_owned(),
                // Clients that take in all events want to know the type of each.
                event: Some(prost_types::Any {
                    type_url: "google.protobuf.Empty".to_owned(),
                    value: Vec::new(),
                }),
            };
            let mut events = self.events();
            let published = pin!(events.publish(request));
            let published = answered("Events.Publish", self.deadlines().answer, published);
            if let Err(failure) = published.await {
                return failure;
            }
            sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }
}

impl Deletions {
    /// Calls for each deletion, until the subscription ends. Returns why it did.
    pub(super) async fn read(&mut self, mut deleted: impl FnMut()) -> CallFailure {
        loop {
            match self.next().await {
                Ok(event) if event.topic == DELETED => deleted(),
                // The last of stowd's own.
                Ok(_) => {}
                Err(failure) => return failure,
            }
        }
    }

    async fn next(&mut self) -> Result<Envelope, CallFailure> {
        let next = self.events.message().await;
        let next = next.map_err(|status| CallFailure::of(SUBSCRIBE, &status))?;
        next.ok_or_else(|| CallFailure {
            call: SUBSCRIBE,
            kind: FailureKind::Unreachable,
            cause: "containerd has ended the stream of events".to_owned(),
        })
    }
}
