//! What a program answers, which may not come.

use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// How long a program, or containerd, may take to answer.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// What the command has said when it has ended; `None` where it does not end in time.
pub(super) async fn answer(command: &mut Command) -> Option<io::Result<Output>> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    timeout(ANSWER, command.output()).await.ok()
}
