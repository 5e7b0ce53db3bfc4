//! One request: whose is it, send it to an instance, and answer. Requests arrive judged by `strict`; fields are
//! `headers`', the choice of an instance is `board`'s.

use super::access_log::AccessLog;
use super::account::{Account, Books};
use super::board::{Answers, Board, Place, Site};
use super::certificates::Certificates;
use super::challenges::Challenges;
use super::connection::Ending;
use super::ejection::Fault;
use super::encryption;
use super::exchange::{Exchange, ExchangeError, Failed, Progress, Upload, attempt, outgoing};
use super::front::{Conversation, InFlight, REFUSED_METHOD};
use super::headers;
use super::instance::Pass;
use super::metrics::Figures;
use super::names::Host;
use super::origin::{Arrival, Origin};
use super::pages::{self, Page, Reply};
use super::settings::RouterConfig;
use super::strict::Refusal;
use super::tunnel;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderValue, STRICT_TRANSPORT_SECURITY, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Uri, Version};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// What every request of one server may need.
pub struct Shared {
    pub board: Board,
    pub challenges: Challenges,
    pub certificates: Certificates,
    pub books: Arc<Books>,
    pub config: RouterConfig,
    /// Whether the server stops.
    pub ending: watch::Receiver<Ending>,
    /// Set when tunnels have to end.
    pub closing: watch::Receiver<bool>,
    /// A clone lives as long as each tunnel.
    pub alive: mpsc::Sender<Infallible>,
}

impl Shared {
    /// What was counted until now.
    pub fn figures(&self) -> Figures {
        let sites = self.board.sites();
        let nobody = (String::new(), self.books.nobody.totals());
        let named = sites.iter().map(|site| (site.project.to_string(), site.door.counts.totals()));
        Figures {
            projects: named.chain([nobody]).collect(),
            instances: self.board.loads(),
            held: sites.iter().map(|site| (site.project.to_string(), site.held())).collect(),
            certificates: self.certificates.expiries(),
            connections: self.books.connections.load(Ordering::Relaxed),
            lines_dropped: self.books.log.as_ref().map_or(0, AccessLog::dropped),
        }
    }
}

/// Answers one request of a connection.
pub async fn answer(
    shared: Arc<Shared>,
    arrival: Arrival,
    conversation: Conversation,
    request: Request<Incoming>,
) -> Response<Reply> {
    let origin = Origin::of(arrival, request.headers(), &shared.config);
    let account = Account::open(&shared.books, &request, origin.client, InFlight::begin(&conversation));
    let mut answer = match find(&shared, &request) {
        _ if request.method().as_str() == REFUSED_METHOD => pages::refused(refusal_of(&conversation), account),
        Found::NoHost => pages::refused(Some(Refusal::Bad("no Host field that names a host")), account),
        Found::Challenge(answer) => pages::challenge(answer, account),
        Found::Unknown => Page::UnknownHost.response(account),
        Found::Site(site) => serve(&shared, site, (request, origin), account).await,
    };
    let status = answer.status();
    answer.body_mut().note_status(status);
    let Conversation::Line(front) = conversation else {
        // Belongs to one connection of HTTP/1.
        answer.headers_mut().remove(CONNECTION);
        return answer;
    };
    if status == StatusCode::SWITCHING_PROTOCOLS {
        front.settle_tunnel();
        return answer;
    }
    if *shared.ending.borrow() > Ending::Open {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    front.settle_http();
    answer
}

/// Answers what was no request.
pub fn refuse(
    shared: &Shared,
    arrival: Arrival,
    (conversation, request): (&Conversation, &Request<Incoming>),
    refusal: Refusal,
) -> Response<Reply> {
    let client = arrival.peer.ip().to_canonical();
    let account = Account::open(&shared.books, request, client, InFlight::begin(conversation));
    let mut answer = pages::refused(Some(refusal), account);
    let status = answer.status();
    answer.body_mut().note_status(status);
    answer.headers_mut().remove(CONNECTION);
    answer
}

fn refusal_of(conversation: &Conversation) -> Option<Refusal> {
    match conversation {
        Conversation::Line(front) => front.refusal(),
        Conversation::Streams(_) => None,
    }
}

enum Found {
    NoHost,
    Challenge(String),
    Unknown,
    Site(Arc<Site>),
}

fn find(shared: &Shared, request: &Request<Incoming>) -> Found {
    let host = request.headers().get(HOST).and_then(|value| value.to_str().ok()).and_then(Host::parse);
    let Some(host) = host else { return Found::NoHost };
    let path = request.uri().path();
    if let Some(answer) = shared.challenges.answer(path) {
        return Found::Challenge(answer);
    }
    shared.board.find(&host, path).map_or(Found::Unknown, Found::Site)
}

async fn serve(
    shared: &Shared,
    site: Arc<Site>,
    (request, origin): (Request<Incoming>, Origin),
    mut account: Account,
) -> Response<Reply> {
    account.is_for(&site.door.counts);
    if let Some(location) = encryption::redirect(&shared.config, &site, origin, &request) {
        return pages::moved(location, account);
    }
    let hsts = encryption::hsts(&shared.config, &site, origin);
    let mut answer = serve_open(shared, site, (request, origin), account).await;
    if let Some(hsts) = hsts {
        answer.headers_mut().entry(STRICT_TRANSPORT_SECURITY).or_insert(hsts);
    }
    answer
}

async fn serve_open(
    shared: &Shared,
    site: Arc<Site>,
    (request, origin): (Request<Incoming>, Origin),
    mut account: Account,
) -> Response<Reply> {
    if let Some(page) = standing_answer(&site) {
        return page.response(account);
    }
    let project = site.project.clone();
    match forward(shared, site, request, origin).await {
        Ok(Forwarded::Answer(answer, pass)) => {
            account.answered_by(&pass, project.as_str());
            answer.map(|body| Reply::application(body, pass, account))
        }
        Ok(Forwarded::Tunnel(answer)) => answer.map(|()| Reply::empty(account)),
        Err(Unserved::Moved(site)) => {
            let page = site.as_deref().and_then(standing_answer);
            page.unwrap_or(Standing::Unknown).response(account)
        }
        Err(Unserved::Failed(error)) => {
            tracing::warn!(%project, error = %crate::model::failure::chain(&error), "no answer");
            page_of(&error).response(account)
        }
    }
}

/// What is answered where there are no instances to ask.
enum Standing<'a> {
    Unknown,
    NoRelease,
    Maintenance(Option<&'a str>, std::time::Duration),
}

impl Standing<'_> {
    fn response(self, account: Account) -> Response<Reply> {
        match self {
            Standing::Unknown => Page::UnknownHost.response(account),
            Standing::NoRelease => Page::NoRelease.response(account),
            Standing::Maintenance(page, retry_after) => pages::maintenance(page, retry_after, account),
        }
    }
}

fn standing_answer(site: &Site) -> Option<Standing<'_>> {
    match &site.answers {
        Answers::Instances(_) => None,
        Answers::NoRelease => Some(Standing::NoRelease),
        Answers::Maintenance { page, retry_after } => Some(Standing::Maintenance(page.as_deref(), *retry_after)),
    }
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
    origin: Origin,
) -> Result<Forwarded, Unserved> {
    let websocket = headers::asks_websocket(request.method(), request.version(), request.headers());
    let client = websocket.then(|| hyper::upgrade::on(&mut request));
    prepare(&mut request, origin);
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
    let until = Instant::now() + shared.config.hold;
    let mut last = ExchangeError::AllOut;
    let mut repeats = 1u32;
    loop {
        let pass = match shared.board.place(Arc::clone(&site), until, shared.config.hold_requests).await {
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
        match attempt(&instance.pool, request, upload.clone(), shared.config.response_timeout, &well).await {
            Ok(exchange) => return Ok((exchange, pass)),
            Err(Failed::Unsent(unsent, error)) => {
                left_out(&site, &pass, Fault::Refused);
                (last, request) = (ExchangeError::Connect(error), *unsent);
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
fn prepare(request: &mut Request<Incoming>, origin: Origin) {
    if let Some(host) = request.headers().get(HOST).cloned() {
        headers::to_application(request.headers_mut(), origin, &host);
    }
    if request.uri().authority().is_some() {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse().unwrap_or_else(|_| Uri::from_static("/"));
    }
    *request.version_mut() = Version::HTTP_11;
}
