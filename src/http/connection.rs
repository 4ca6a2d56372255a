//! One connection: a request, its answer, and the end.

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;

use super::listener::Stream;

/// From the connection to the end of the headers.
const HEADERS_TIME: Duration = Duration::from_secs(5);
/// In all.
const WHOLE_TIME: Duration = Duration::from_secs(15);
/// In bytes; hyper's least.
const HEADERS_MAX: usize = 8192;
const HEADER_LINES_MAX: usize = 64;

const PLAIN: &str = "text/plain; charset=utf-8";

/// What is said of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// 200, or else 503.
    pub is_well: bool,
    pub content_type: &'static str,
    pub text: String,
}

impl HttpAnswer {
    /// One line.
    pub fn line(is_well: bool, line: &str) -> Self {
        Self {
            is_well,
            content_type: PLAIN,
            text: format!("{line}\n"),
        }
    }
}

/// Answers one request. A client that takes too long, or asks for what cannot be understood, is not
/// worth a line of the log.
pub(super) async fn serve<A>(stream: Stream, answer: A)
where
    A: Fn(&str) -> Option<HttpAnswer>,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), &answer);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIME)
        .max_buf_size(HEADERS_MAX)
        .max_headers(HEADER_LINES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let _ = timeout(WHOLE_TIME, connection).await;
}

fn respond<A>(method: &Method, path: &str, answer: A) -> Response<Full<Bytes>>
where
    A: Fn(&str) -> Option<HttpAnswer>,
{
    if !matches!(*method, Method::GET | Method::HEAD) {
        let refusal = HttpAnswer::line(false, "only GET and HEAD are served");
        let mut response = response(StatusCode::METHOD_NOT_ALLOWED, refusal);
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    match answer(path) {
        None => {
            let refusal = HttpAnswer::line(false, "there are /metrics, /readyz and /healthz");
            response(StatusCode::NOT_FOUND, refusal)
        }
        Some(answer) => {
            let status = match answer.is_well {
                true => StatusCode::OK,
                false => StatusCode::SERVICE_UNAVAILABLE,
            };
            response(status, answer)
        }
    }
}

fn response(status: StatusCode, answer: HttpAnswer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
