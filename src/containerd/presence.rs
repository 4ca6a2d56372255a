//! Whether containerd answers, and what it says by itself.
//!
//! ```text
//!   answers -- its events end, or a call breaks off -----> away -- it answers --> answers, perhaps another
//!      |                                                    ^
//!      +-- a question is not answered (attached) -- hangs --+--- it answers --> answers
//! ```
//!
//! Waits on: events; the answer to a question; the clock, while containerd is asked or away.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::client::{Containerd, answered};
use super::failure::{CallFailure, FailureKind};
use crate::happened::StoreEvent;
use crate::image_store::{StoreError, StoreState};
use crate::reporter::report;

/// Between two questions to a containerd that stowd is attached to. HTTP/2 has pings for this, but a Go
/// server closes a connection that pings it more often than every five minutes.
const BETWEEN_QUESTIONS: Duration = Duration::from_secs(2);
/// Half of how long the answer to one is waited for. After the first half is looked again: where stowd
/// itself did not run, the answer has come and was not read.
const HALF_AN_ANSWER: Duration = Duration::from_secs(1);
/// Between two tries to reach a containerd that is away.
const WHILE_AWAY: Duration = Duration::from_millis(500);
/// From the end of the connection to when that is told: the end of a child of stowd's is told as that.
const BEFORE_AWAY: Duration = Duration::from_millis(100);
/// Between two tries to hear of deletions at most: it is twice as long each time.
const LONGEST_PAUSE: Duration = Duration::from_secs(10 * 60);

impl Containerd {
    /// Keeps `state` up to date. With `is_asked` it is noticed within five seconds that containerd hangs,
    /// which costs both a wake-up every other second.
    pub async fn follow_state(
        &self,
        is_asked: bool,
        state: &watch::Sender<StoreState>,
    ) -> Infallible {
        let mut is_refused = false;
        loop {
            let ended = tokio::select! {
                ended = self.hear(state, &mut is_refused) => ended,
                ended = self.ask(is_asked, state) => ended,
            };
            sleep(BEFORE_AWAY).await;
            tell_away(state, ended);
            while let Err(failure) = self.is_there(2 * HALF_AN_ANSWER).await {
                tell_away(state, failure);
                sleep(WHILE_AWAY).await;
            }
            tell_returned(state);
        }
    }

    /// Hears of deletions for as long as there is a connection. Returns why there is none.
    async fn hear(&self, state: &watch::Sender<StoreState>, is_refused: &mut bool) -> CallFailure {
        let mut pause = self.deadlines().heard;
        loop {
            match self.subscribe_deletions().await {
                Ok(mut deletions) => {
                    if std::mem::take(is_refused) {
                        report(StoreEvent::DeletionsHeardAgain);
                    }
                    tell_loss(state);
                    return deletions.read(|| tell_loss(state)).await;
                }
                Err(failure) if failure.is_away() => return failure,
                Err(failure) => {
                    if !std::mem::replace(is_refused, true) {
                        let error = StoreError::from(failure).to_string();
                        report(StoreEvent::DeletionsNotHeard(error));
                    }
                    sleep(pause).await;
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
            }
        }
    }

    /// Asks now and then whether it is there. Returns why it cannot be asked.
    async fn ask(&self, is_asked: bool, state: &watch::Sender<StoreState>) -> CallFailure {
        if !is_asked {
            return std::future::pending().await;
        }
        loop {
            sleep(BETWEEN_QUESTIONS).await;
            let mut answer = pin!(self.is_there(self.deadlines().answer));
            let mut in_time = timeout(HALF_AN_ANSWER, &mut answer).await;
            if in_time.is_err() {
                in_time = timeout(HALF_AN_ANSWER, &mut answer).await;
            }
            let answer = match in_time {
                Ok(answer) => answer,
                Err(_) => {
                    tell_away(state, CallFailure::late(VERSION, 2 * HALF_AN_ANSWER));
                    answer.await
                }
            };
            match answer {
                Ok(()) => tell_returned(state),
                Err(failure) if matches!(failure.kind, FailureKind::Late(_)) => {}
                Err(failure) => return failure,
            }
        }
    }

    async fn is_there(&self, deadline: Duration) -> Result<(), CallFailure> {
        let mut service = self.version_service();
        let version = pin!(service.version(()));
        answered(VERSION, deadline, version).await.map(drop)
    }
}

const VERSION: &str = "Version.Version";

fn tell_away(state: &watch::Sender<StoreState>, failure: CallFailure) {
    let error = StoreError::from(failure).to_string();
    state.send_if_modified(|state| state.away.replace(error.clone()) != Some(error));
}

/// Tells that it answers, if that is news.
fn tell_returned(state: &watch::Sender<StoreState>) {
    state.send_if_modified(|state| {
        let was_away = state.away.take().is_some();
        state.returns += u64::from(was_away);
        was_away
    });
}

fn tell_loss(state: &watch::Sender<StoreState>) {
    state.send_modify(|state| state.losses += 1);
}
