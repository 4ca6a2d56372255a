//! `stowd remove`: takes away what `stowd import` has brought.

use std::io;

use crate::config::Config;
use crate::operator::{NotConnected, Removed, connect, remove as remove_image};
use crate::pin::{OPERATOR, PinOwner};

/// Why nothing was removed.
#[derive(Debug, thiserror::Error)]
pub enum NothingRemoved {
    #[error("the runtime cannot be started: {0}")]
    Runtime(#[from] io::Error),
    #[error(transparent)]
    Connection(#[from] NotConnected),
}

/// Unpins images, and with `deletes` deletes their names, too. `say` gets what came of each, `complain`
/// each problem. Returns whether there was none.
pub fn remove(
    config: &Config,
    names: &[String],
    deletes: bool,
    mut say: impl FnMut(&str),
    mut complain: impl FnMut(&str),
) -> Result<bool, NothingRemoved> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build()?;
    runtime.block_on(async {
        let store = connect(config, PinOwner::of_instance(OPERATOR)).await?;
        let mut is_well = true;
        for name in names {
            match remove_image(&store, config, name, deletes).await {
                Ok(removed) => removed
                    .iter()
                    .for_each(|one| say(&line(one, &config.instance))),
                Err(error) => {
                    is_well = false;
                    complain(&format!("{name}: {error}"));
                }
            }
        }
        Ok(is_well)
    })
}

fn line(removed: &Removed, instance: &str) -> String {
    match removed {
        Removed::Unpinned(name) => format!("unpinned {name}\n"),
        Removed::Deleted(name) => format!("deleted {name}\n"),
        Removed::Released(name) => format!("released {name} from the baked set\n"),
        Removed::LeftToInstance(name) => {
            format!("left {name}, which the images directory brings, to the instance {instance}\n")
        }
    }
}
