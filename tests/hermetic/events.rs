//! containerd's events, from a server whose events can fail to come.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use h2::server::SendResponse;
use stowd::containerd::{Containerd, Deadlines};
use stowd::image_store::StoreState;
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tonic::codegen::Bytes;
use tonic::codegen::http::{HeaderMap, Response};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::messages::Messages;

/// What the server does, and has done.
#[derive(Default)]
struct Server {
    /// Whether what is published reaches who has subscribed.
    delivers: AtomicBool,
    /// Answers nothing.
    hangs: AtomicBool,
    published: AtomicUsize,
    subscribed: AtomicUsize,
    subscribers: Mutex<Vec<mpsc::UnboundedSender<Bytes>>>,
}

impl Server {
    fn serve(path: &Path) -> Arc<Self> {
        let server = Arc::new(Self::default());
        let listener = UnixListener::bind(path).unwrap();
        let all = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&all).connection(stream));
            }
        });
        server
    }

    async fn connection(self: Arc<Self>, stream: UnixStream) {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, respond))) = connection.accept().await {
            let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
            tokio::spawn(Arc::clone(&self).call(method, request.into_body(), respond));
        }
    }

    async fn call(
        self: Arc<Self>,
        method: String,
        mut body: h2::RecvStream,
        mut respond: SendResponse<Bytes>,
    ) {
        let mut request = Vec::new();
        while let Some(Ok(bytes)) = body.data().await {
            let _ = body.flow_control().release_capacity(bytes.len());
            request.extend(bytes);
        }
        while self.hangs.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        match method.as_str() {
            "Publish" => {
                self.published.fetch_add(1, Ordering::Relaxed);
                if self.delivers.load(Ordering::Relaxed) {
                    self.event(topic_of(&request));
                }
                answer(&mut respond, &[]);
            }
            "Subscribe" => {
                self.subscribed.fetch_add(1, Ordering::Relaxed);
                let (send, mut events) = mpsc::unbounded_channel();
                self.subscribers.lock().unwrap().push(send);
                // As a server in Go: the headers come with the first event.
                let Some(first) = events.recv().await else {
                    return;
                };
                let Ok(mut stream) = respond.send_response(headers(), false) else {
                    return;
                };
                let mut next = Some(first);
                while let Some(event) = next {
                    if stream.send_data(event, false).is_err() {
                        return;
                    }
                    next = events.recv().await;
                }
            }
            _ => answer(&mut respond, &[]),
        }
    }

    fn event(&self, topic: &str) {
        let event = envelope(topic);
        let mut subscribers = self.subscribers.lock().unwrap();
        subscribers.retain(|subscriber| subscriber.send(event.clone()).is_ok());
    }
}

/// gRPC's prefix: not compressed, and the length of the message.
fn message(bytes: &[u8]) -> Bytes {
    let length = u32::try_from(bytes.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], bytes].concat().into()
}

/// An `Envelope` with its third field, the topic.
fn envelope(topic: &str) -> Bytes {
    let length = u8::try_from(topic.len()).unwrap();
    message(&[&[3 << 3 | 2, length], topic.as_bytes()].concat())
}

/// The first field of a `PublishRequest`.
fn topic_of(request: &[u8]) -> &str {
    let (tag, length) = (request[5], usize::from(request[6]));
    assert_eq!(tag, 1 << 3 | 2);
    std::str::from_utf8(&request[7..][..length]).unwrap()
}

fn headers() -> Response<()> {
    let response = Response::builder().header("content-type", "application/grpc");
    response.body(()).unwrap()
}

fn answer(respond: &mut SendResponse<Bytes>, bytes: &[u8]) {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    // The client may have given up.
    if let Ok(mut stream) = respond.send_response(headers(), false) {
        let _ = stream.send_data(message(bytes), false);
        let _ = stream.send_trailers(trailers);
    }
}

/// A client that follows the state of the server.
struct Client {
    server: Arc<Server>,
    state: watch::Receiver<StoreState>,
    _dir: TempDir,
}

impl Client {
    fn follow(is_asked: bool, heard: Duration) -> Self {
        let dir = TempDir::new().unwrap();
        let socket = dir.path().join("c.sock");
        let server = Server::serve(&socket);
        let containerd = Containerd::connect(socket, "n").unwrap();
        let containerd = containerd.with_deadlines(Deadlines {
            heard,
            ..Deadlines::default()
        });
        let (tell, state) = watch::channel(StoreState::default());
        tokio::spawn(async move { containerd.follow_state(is_asked, &tell).await });
        Self {
            server,
            state,
            _dir: dir,
        }
    }

    async fn until(&mut self, what: &str, is_so: impl FnMut(&StoreState) -> bool) -> StoreState {
        let is_so = self.state.wait_for(is_so);
        let told = tokio::time::timeout(Duration::from_secs(60), is_so).await;
        told.unwrap_or_else(|_| panic!("never: {what}"))
            .unwrap()
            .clone()
    }
}

#[tokio::test]
async fn a_subscription_counts_when_an_own_event_is_heard() {
    let mut client = Client::follow(false, Duration::from_secs(60));
    let server = Arc::clone(&client.server);
    while server.published.load(Ordering::Relaxed) < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(*client.state.borrow(), StoreState::default());
    server.delivers.store(true, Ordering::Relaxed);
    client.until("it is heard", |state| state.losses == 1).await;
    for deletion in 2..1000 {
        server.event("/images/delete");
        let counted = client.until("it is told", |state| state.losses == deletion);
        assert_eq!(counted.await.away, None);
    }
    server.event("/images/create");
    server.event("/images/delete");
    client
        .until("and no other", |state| state.losses == 1000)
        .await;
    assert_eq!(server.subscribed.load(Ordering::Relaxed), 1);
}

/// Nothing is away then, and nothing is asked more and more often.
#[tokio::test]
async fn a_subscription_that_is_never_confirmed_is_told_once_and_tried_again() {
    let messages = Messages::default();
    let subscriber = tracing_subscriber::registry().with(messages.layer());
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut client = Client::follow(false, Duration::from_millis(50));
    let server = Arc::clone(&client.server);
    let began = Instant::now();
    while server.subscribed.load(Ordering::Relaxed) < 4 {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "it is not tried again"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Four waits, and between them one pause, two and four.
    assert!(began.elapsed() >= Duration::from_millis(3 * 50 + 7 * 50));
    assert_eq!(*client.state.borrow(), StoreState::default());
    let told = messages.all();
    assert_eq!(told.len(), 1, "{told:?}");
    let not_heard = "images that are deleted are not heard of";
    assert!(told[0].starts_with(not_heard), "{told:?}");

    server.delivers.store(true, Ordering::Relaxed);
    client.until("it is heard", |state| state.losses == 1).await;
    let told = messages.all();
    assert_eq!(told[1..], ["images that are deleted are heard of again"]);
}

#[tokio::test]
async fn a_server_that_hangs_is_away_within_five_seconds_and_returns() {
    let mut client = Client::follow(true, Duration::from_secs(60));
    let server = Arc::clone(&client.server);
    server.delivers.store(true, Ordering::Relaxed);
    client.until("it is heard", |state| state.losses == 1).await;
    server.hangs.store(true, Ordering::Relaxed);
    let began = Instant::now();
    let state = client
        .until("it is away", |state| state.away.is_some())
        .await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    let away = state.away.unwrap();
    assert!(
        away.contains("no answer from containerd within 2 s"),
        "{away}"
    );
    server.hangs.store(false, Ordering::Relaxed);
    let state = client
        .until("it returns", |state| state.away.is_none())
        .await;
    assert_eq!((state.returns, state.losses), (1, 1));
    // The subscription was there all the time.
    server.event("/images/delete");
    client.until("it is told", |state| state.losses == 2).await;
}
