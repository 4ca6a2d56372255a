//! The lengths of all blobs of the namespace: `Content.List`, of whose answers no label and no time is
//! decoded. A manifest has a label for each blob that it keeps, and there is no way to ask containerd for
//! less.

use containerd_client::services::v1::ListContentRequest;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::client::{Containerd, MESSAGE_LIMIT, answered, from_wire, next_message};
use super::failure::CallFailure;

const LIST: &str = "Content.List";
const PATH: &str = "/containerd.services.content.v1.Content/List";

/// `containerd.services.content.v1.ListContentResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct ListedPart {
    #[prost(message, repeated, tag = "1")]
    info: Vec<ListedBlob>,
}

/// `containerd.services.content.v1.Info`.
#[derive(Clone, PartialEq, prost::Message)]
struct ListedBlob {
    #[prost(string, tag = "1")]
    digest: String,
    #[prost(int64, tag = "2")]
    size: i64,
}

impl Containerd {
    /// Hands over the digest and the length of each blob that containerd has a record of.
    pub(super) async fn list_lengths(
        &self,
        mut take: impl FnMut(&str, u64),
    ) -> Result<(), CallFailure> {
        let deadline = self.deadlines().answer;
        let mut listed = answered(LIST, deadline, self.listed()).await?;
        while let Some(part) = next_message(LIST, deadline, &mut listed).await? {
            for ListedBlob { digest, size } in part.info {
                take(&digest, from_wire(size));
            }
        }
        Ok(())
    }

    async fn listed(&self) -> Result<Response<Streaming<ListedPart>>, Status> {
        let mut grpc = Grpc::new(self.transport(None)).max_decoding_message_size(MESSAGE_LIMIT);
        let ready = grpc.ready().await;
        ready.map_err(|error| Status::from_error(error.into()))?;
        let codec = ProstCodec::<ListContentRequest, ListedPart>::default();
        let request = Request::new(ListContentRequest::default());
        grpc.server_streaming(request, PathAndQuery::from_static(PATH), codec)
            .await
    }
}

#[cfg(test)]
mod tests {
    use containerd_client::services::v1::{Info, ListContentResponse};
    use prost::Message as _;

    use super::*;

    #[test]
    fn digests_and_lengths_are_read_as_containerd_writes_them() {
        let info = |digest: &str, size| Info {
            digest: digest.to_owned(),
            size,
            created_at: Some(prost_types::Timestamp::default()),
            updated_at: Some(prost_types::Timestamp::default()),
            labels: [("a".to_owned(), "b".to_owned())].into(),
        };
        let written = ListContentResponse {
            info: vec![info("sha256:1", 7), info("sha256:2", 0)],
        };
        let read = ListedPart::decode(written.encode_to_vec().as_slice()).unwrap();
        let read = read.info.into_iter().map(|info| (info.digest, info.size));
        let read = read.collect::<Vec<_>>();
        assert_eq!(
            read,
            [("sha256:1".to_owned(), 7), ("sha256:2".to_owned(), 0)]
        );
    }
}
