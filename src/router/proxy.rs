//! One request: whose is it, send it there, and answer. Requests arrive judged by `strict`; fields are `headers`'.

use super::exchange::{Exchange, ExchangeError, exchange};
use super::front::{Front, InFlight, REFUSED_METHOD};
use super::headers::{self, Origin};
use super::pages::{self, Page, Reply};
use super::strict::Refusal;
use super::table::{Host, Route, Target};
use super::{Router, tunnel};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderValue, UPGRADE};
use hyper::{Request, Response, StatusCode, Uri, Version};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// What every request of one server may need.
pub struct Shared {
    pub router: Router,
    pub response_timeout: Duration,
    /// Set when tunnels have to end.
    pub closing: watch::Receiver<bool>,
    /// A clone lives as long as each tunnel.
    pub alive: mpsc::Sender<Infallible>,
}

/// Answers one request of the connection that `front` belongs to.
pub async fn answer(shared: Arc<Shared>, front: Arc<Front>, request: Request<Incoming>) -> Response<Reply> {
    let in_flight = InFlight(Arc::clone(&front));
    let answer = match find(&shared.router, &request) {
        _ if request.method().as_str() == REFUSED_METHOD => pages::refused(front.refusal(), in_flight),
        Found::NoHost => pages::refused(Some(Refusal::Bad("no Host field that names a host")), in_flight),
        Found::Unknown => Page::UnknownHost.response(in_flight),
        Found::Route(Route { target: Target::NoRelease, .. }) => Page::NoRelease.response(in_flight),
        Found::Route(Route { target: Target::Port(port), project }) => {
            let sent = forward(&shared, request, port, in_flight).await;
            sent.unwrap_or_else(|(error, in_flight)| {
                tracing::warn!(%project, port, error = %crate::model::failure::chain(&error), "no answer");
                page_of(&error).response(in_flight)
            })
        }
    };
    match answer.status() {
        StatusCode::SWITCHING_PROTOCOLS => front.settle_tunnel(),
        _ => front.settle_http(),
    }
    answer
}

enum Found {
    NoHost,
    Unknown,
    Route(Route),
}

fn find(router: &Router, request: &Request<Incoming>) -> Found {
    let host = request.headers().get(HOST).and_then(|value| value.to_str().ok()).and_then(Host::parse);
    let Some(host) = host else { return Found::NoHost };
    router.snapshot().get(&host).cloned().map_or(Found::Unknown, Found::Route)
}

fn page_of(error: &ExchangeError) -> Page {
    match error {
        ExchangeError::Timeout => Page::Timeout,
        ExchangeError::Connect(_) | ExchangeError::Broken(_) | ExchangeError::Malformed => Page::BadGateway,
    }
}

async fn forward(
    shared: &Shared,
    mut request: Request<Incoming>,
    port: u16,
    in_flight: InFlight,
) -> Result<Response<Reply>, (ExchangeError, InFlight)> {
    let websocket = headers::asks_websocket(request.method(), request.version(), request.headers());
    let client = websocket.then(|| hyper::upgrade::on(&mut request));
    prepare(&mut request, &in_flight.0);
    if websocket {
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        request.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    let Exchange { mut answer, lease, upload } =
        match exchange(&shared.router.pool, port, request, shared.response_timeout).await {
            Ok(exchange) => exchange,
            Err(error) => return Err((error, in_flight)),
        };
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        headers::to_client(answer.headers_mut());
        *answer.version_mut() = Version::HTTP_11;
        return Ok(answer.map(|body| Reply::application(body, lease, upload, in_flight)));
    }
    let agreed = answer.headers().get(UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let (Some(client), true) = (client, agreed) else { return Err((ExchangeError::Malformed, in_flight)) };
    let application = match hyper::upgrade::on(&mut answer).await {
        Ok(application) => application,
        Err(error) => return Err((ExchangeError::Broken(error), in_flight)),
    };
    tokio::spawn(tunnel::run(client, application, shared.closing.clone(), shared.alive.clone()));
    headers::to_client(answer.headers_mut());
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    Ok(answer.map(|_| Reply::empty(in_flight)))
}

/// The client's request as the application gets it: origin form, our fields, a connection of our own.
fn prepare(request: &mut Request<Incoming>, front: &Front) {
    if let Some(host) = request.headers().get(HOST).cloned() {
        headers::to_application(request.headers_mut(), Origin { peer: front.peer, host: &host });
    }
    if request.uri().authority().is_some() {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse().unwrap_or_else(|_| Uri::from_static("/"));
    }
    *request.version_mut() = Version::HTTP_11;
}
