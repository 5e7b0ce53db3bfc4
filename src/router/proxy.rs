//! One request: whose is it, send it to an instance, and answer. Requests arrive judged by `strict`; fields are
//! `headers`', the choice of an instance is `board`'s.

use super::board::{Answers, Board, Holding, Place, Site};
use super::ejection::Fault;
use super::exchange::{Exchange, ExchangeError, Failed, Progress, Upload, attempt, outgoing};
use super::front::{Front, InFlight, REFUSED_METHOD};
use super::headers::{self, Origin};
use super::instance::Pass;
use super::names::Host;
use super::pages::{self, Page, Reply};
use super::strict::Refusal;
use super::tunnel;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderValue, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Uri, Version};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// What every request of one server may need.
pub struct Shared {
    pub board: Board,
    pub response_timeout: Duration,
    pub holding: Holding,
    /// Set when tunnels have to end.
    pub closing: watch::Receiver<bool>,
    /// A clone lives as long as each tunnel.
    pub alive: mpsc::Sender<Infallible>,
}

/// Answers one request of the connection that `front` belongs to.
pub async fn answer(shared: Arc<Shared>, front: Arc<Front>, request: Request<Incoming>) -> Response<Reply> {
    let in_flight = InFlight(Arc::clone(&front));
    let answer = match find(&shared.board, &request) {
        _ if request.method().as_str() == REFUSED_METHOD => pages::refused(front.refusal(), in_flight),
        Found::NoHost => pages::refused(Some(Refusal::Bad("no Host field that names a host")), in_flight),
        Found::Unknown => Page::UnknownHost.response(in_flight),
        Found::Site(site) => serve(&shared, site, request, in_flight).await,
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
    Site(Arc<Site>),
}

fn find(board: &Board, request: &Request<Incoming>) -> Found {
    let host = request.headers().get(HOST).and_then(|value| value.to_str().ok()).and_then(Host::parse);
    let Some(host) = host else { return Found::NoHost };
    board.find(&host, request.uri().path()).map_or(Found::Unknown, Found::Site)
}

async fn serve(shared: &Shared, site: Arc<Site>, request: Request<Incoming>, in_flight: InFlight) -> Response<Reply> {
    if let Some(answer) = standing_answer(&site) {
        return answer(in_flight);
    }
    let project = site.project.clone();
    match forward(shared, site, request, &in_flight.0).await {
        Ok(Forwarded::Answer(answer, pass)) => answer.map(|body| Reply::application(body, pass, in_flight)),
        Ok(Forwarded::Tunnel(answer)) => answer.map(|()| Reply::empty(in_flight)),
        Err(Unserved::Moved(site)) => match site.as_deref().and_then(standing_answer) {
            Some(answer) => answer(in_flight),
            None => Page::UnknownHost.response(in_flight),
        },
        Err(Unserved::Failed(error)) => {
            tracing::warn!(%project, error = %crate::model::failure::chain(&error), "no answer");
            page_of(&error).response(in_flight)
        }
    }
}

/// What is answered for a project that has no instances to ask.
fn standing_answer(site: &Site) -> Option<impl FnOnce(InFlight) -> Response<Reply> + '_> {
    let page = match &site.answers {
        Answers::Instances(_) => return None,
        Answers::NoRelease => None,
        Answers::Maintenance { page, retry_after } => Some((page.as_deref(), *retry_after)),
    };
    Some(move |in_flight| match page {
        None => Page::NoRelease.response(in_flight),
        Some((page, retry_after)) => pages::maintenance(page, retry_after, in_flight),
    })
}

fn page_of(error: &ExchangeError) -> Page {
    match error {
        ExchangeError::Timeout => Page::Timeout,
        ExchangeError::AllOut => Page::Crowded,
        ExchangeError::Connect(_) | ExchangeError::Broken(_) | ExchangeError::Malformed => Page::BadGateway,
    }
}

type Body = (Incoming, super::pool::Lease, Option<Arc<Progress>>);

enum Forwarded {
    Answer(Response<Body>, Pass),
    Tunnel(Response<()>),
}

enum Unserved {
    Failed(ExchangeError),
    /// While the request waited the project got something else than instances, or went.
    Moved(Option<Arc<Site>>),
}

impl From<ExchangeError> for Unserved {
    fn from(error: ExchangeError) -> Self {
        Unserved::Failed(error)
    }
}

async fn forward(
    shared: &Shared,
    site: Arc<Site>,
    mut request: Request<Incoming>,
    front: &Front,
) -> Result<Forwarded, Unserved> {
    let websocket = headers::asks_websocket(request.method(), request.version(), request.headers());
    let client = websocket.then(|| hyper::upgrade::on(&mut request));
    prepare(&mut request, front);
    if websocket {
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        request.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    let (exchange, pass) = ask(shared, site, outgoing(request)).await?;
    if exchange.answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return switch(shared, client, exchange, pass).await.map_err(Unserved::Failed);
    }
    let Exchange { mut answer, lease, upload } = exchange;
    headers::to_client(answer.headers_mut());
    *answer.version_mut() = Version::HTTP_11;
    Ok(Forwarded::Answer(answer.map(|body| (body, lease, upload)), pass))
}

/// Asks one instance after the other as far as that is safe, and waits for one while all are out.
async fn ask(
    shared: &Shared,
    site: Arc<Site>,
    (mut request, upload): (Request<Upload>, Option<Arc<Progress>>),
) -> Result<(Exchange, Pass), Unserved> {
    let until = Instant::now() + shared.holding.time;
    let mut last = ExchangeError::AllOut;
    let mut repeats = 1u32;
    loop {
        let pass = match shared.board.place(Arc::clone(&site), until, shared.holding.most).await {
            Place::At(pass) => pass,
            Place::AllOut => return Err(last.into()),
            Place::Elsewhere(site) => return Err(Unserved::Moved(site)),
        };
        let instance = Arc::clone(pass.instance());
        let well = |sign| {
            if instance.well(sign) {
                site.announce();
            }
        };
        match attempt(&instance.pool, request, upload.clone(), shared.response_timeout, &well).await {
            Ok(exchange) => return Ok((exchange, pass)),
            Err(Failed::Unsent(unsent, error)) => {
                left_out(&site, &pass, Fault::Refused);
                last = ExchangeError::Connect(error);
                request = *unsent;
            }
            Err(Failed::Broke(error, copy)) => {
                left_out(&site, &pass, Fault::Broke);
                let Some(copy) = copy.filter(|_| repeats > 0) else {
                    return Err(ExchangeError::Broken(error).into());
                };
                // A request that breaks one instance may be what breaks it: not through the whole set.
                repeats -= 1;
                last = ExchangeError::Broken(error);
                request = *copy;
            }
            Err(Failed::Ended(error)) => return Err(error.into()),
        }
    }
}

fn left_out(site: &Site, pass: &Pass, fault: Fault) {
    let instance = pass.instance();
    if instance.failed(fault) {
        let (project, name) = (&site.project, &instance.address.name);
        tracing::warn!(%project, %name, port = instance.address.port, ?fault, "instance is out");
    }
}

async fn switch(
    shared: &Shared,
    client: Option<OnUpgrade>,
    exchange: Exchange,
    pass: Pass,
) -> Result<Forwarded, ExchangeError> {
    let mut answer = exchange.answer;
    let agreed = answer.headers().get(UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let (Some(client), true) = (client, agreed) else { return Err(ExchangeError::Malformed) };
    let application = hyper::upgrade::on(&mut answer).await.map_err(ExchangeError::Broken)?;
    let tunnel = tunnel::run(client, application, pass.into_tunnel(), shared.closing.clone(), shared.alive.clone());
    tokio::spawn(tunnel);
    headers::to_client(answer.headers_mut());
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    Ok(Forwarded::Tunnel(answer.map(drop)))
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
