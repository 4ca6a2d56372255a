//! How far a command has come: a bar on a terminal, and a line now and then elsewhere.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::one_line::one_line;
use crate::progress::Meter;

use super::tell;

/// How often the bar is drawn.
const DRAWN: Duration = Duration::from_millis(100);

/// How often there is a line where there is no terminal.
const SAID: Duration = Duration::from_secs(10);

/// A line of it, in the words of [`ProgressStyle::with_template`].
const OF_BYTES: &str =
    "{msg:32!} {wide_bar} {binary_bytes}/{binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";

/// The same where nothing can be counted.
const OF_TIME: &str = "{spinner} {elapsed} {wide_msg}";

/// What is shown of a piece of work.
pub(super) struct WorkShown<'a> {
    /// What is done with what.
    pub(super) doing: String,
    /// What counts its bytes, and how many they are, where that is known.
    pub(super) bytes: Option<(&'a Meter, u64)>,
}

impl WorkShown<'_> {
    /// Awaits the work, and shows on stderr how far it is.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        match io::stderr().is_terminal() {
            true => self.with_bar(work).await,
            false => self.with_lines(work).await,
        }
    }

    async fn with_bar<T>(&self, work: impl Future<Output = T>) -> T {
        let (bar, template) = match self.bytes {
            Some((_, total)) => (ProgressBar::new(total), OF_BYTES),
            None => (ProgressBar::new_spinner(), OF_TIME),
        };
        // A template that is wrong is the library's own bar.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(one_line(&self.doing));
        let done = ticking(DRAWN, work, || match self.bytes {
            Some((meter, total)) => bar.set_position(meter.bytes().min(total)),
            None => bar.tick(),
        });
        let done = done.await;
        bar.finish_and_clear();
        done
    }

    async fn with_lines<T>(&self, work: impl Future<Output = T>) -> T {
        let doing = &self.doing;
        ticking(SAID, work, || {
            let iec = |bytes| ByteSize::b(bytes).display().iec();
            match self.bytes {
                Some((meter, total)) => {
                    let (done, total) = (iec(meter.bytes().min(total)), iec(total));
                    tell(&format_args!("{doing}: {done} of {total}"));
                }
                None => tell(doing),
            }
        })
        .await
    }
}

/// Awaits `work`, and calls `tick` so often meanwhile.
async fn ticking<T>(period: Duration, work: impl Future<Output = T>, tick: impl Fn()) -> T {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => tick(),
        }
    }
}
