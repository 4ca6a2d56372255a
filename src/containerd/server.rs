//! Which containerd answers: one that was started anew may have another configuration.

use super::client::{Containerd, answered};
use super::failure::CallFailure;
use super::found::ServerIdentity;

impl Containerd {
    pub(super) async fn server(&self) -> Result<ServerIdentity, CallFailure> {
        let mut introspection = self.introspection();
        let server = introspection.server(());
        let server = answered("Introspection.Server", self.deadlines().answer, server).await?;
        Ok(ServerIdentity {
            uuid: server.uuid,
            pid: server.pid,
            pidns: server.pidns,
        })
    }
}
