//! Certificates by ACME (HTTP-01): for each host of the table that no file of an admin covers, obtained, kept below the
//! state, and renewed when the authority suggests it (ARI), else after two thirds of their time. Each name has its own
//! attempts and waits; one that fails keeps no other waiting. Runs beside the keeper; when something is due is `renewal`'s.

use super::certificates::{CertificateText, KeyText};
use super::handle::Call;
use super::names::Host;
use super::renewal::{self, Due, Life, Tries};
use super::wire::Order as Told;
use crate::system::files::{self, Durability, Placement};
use crate::system::{UserIds, clock};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, CertificateIdentifier, ChallengeType, Identifier, NewAccount,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Names at a time; an authority limits more.
const AT_ONCE: usize = 4;
/// One order, from asking to having.
const ORDER_TIME: Duration = Duration::from_secs(180);
/// How often an order is begun again because of its nonces.
const NONCES: u32 = 5;
const POLLS: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(90));

/// Which authority, and where its certificates lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AcmePlan {
    /// URL of its directory.
    pub directory: String,
    /// Where it writes to when something is wrong.
    pub email: Option<String>,
    /// Root certificates that its own TLS is checked with; `None`: those of the machine.
    pub roots: Option<PathBuf>,
    /// Root's alone.
    pub store: PathBuf,
    /// Between two looks at what is due.
    pub every: Duration,
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// The file of one host: key and chain together, so that they are never of two minds.
pub fn file(store: &Path, host: &str) -> PathBuf {
    store.join(format!("{host}.pem"))
}

/// Looks after the hosts until the keeper is gone. Each has a future of its own: whatever one waits for, the others are
/// tried in their time.
pub async fn keep(plan: AcmePlan, mut hosts: watch::Receiver<BTreeSet<Host>>, calls: mpsc::WeakUnboundedSender<Call>) {
    let mut tries: HashMap<Host, Tries> = HashMap::new();
    let mut busy: BTreeSet<Host> = BTreeSet::new();
    let mut running = FuturesUnordered::new();
    let mut account = None;
    while calls.upgrade().is_some() {
        let wanted = hosts.borrow_and_update().clone();
        tries.retain(|host, _| wanted.contains(host));
        let ready = ready(&wanted, &tries, &busy);
        if !ready.is_empty() && account.is_none() {
            account = open_account(&plan).await.inspect_err(|error| tracing::error!("acme: no account: {error}")).ok();
        }
        if let Some(account) = &account {
            for host in ready {
                busy.insert(host.clone());
                running.push(look_after(&plan, Account::clone(account), host, &calls));
            }
        }
        tokio::select! {
            Some((host, result)) = running.next() => {
                busy.remove(&host);
                let before = tries.remove(&host).unwrap_or_default();
                if let Err(error) = &result {
                    tracing::error!(%host, failures = before.failures + 1, "acme: no certificate: {error}");
                }
                tries.insert(host, before.after(result.ok(), clock::now()));
            }
            () = tokio::time::sleep(plan.every) => {}
            changed = hosts.changed() => if changed.is_err() { return },
        }
    }
}

/// Whose turn it is: those that failed least first, so that many that always fail keep none waiting.
fn ready(wanted: &BTreeSet<Host>, tries: &HashMap<Host, Tries>, busy: &BTreeSet<Host>) -> Vec<Host> {
    let now = clock::now();
    let known = |host: &Host| tries.get(host).copied().unwrap_or_default();
    let mut ready: Vec<&Host> =
        wanted.iter().filter(|host| !busy.contains(*host) && known(host).next.0 <= now.0).collect();
    ready.sort_by_key(|host| known(host).failures);
    ready.into_iter().take(AT_ONCE.saturating_sub(busy.len())).cloned().collect()
}

async fn open_account(plan: &AcmePlan) -> Result<Account, AnyError> {
    let path = plan.store.join("account.json");
    let builder = || match &plan.roots {
        Some(roots) => Account::builder_with_root(roots),
        None => Account::builder(),
    };
    if let Ok(text) = std::fs::read(&path) {
        let credentials: AccountCredentials = serde_json::from_slice(&text)?;
        return Ok(builder()?.from_credentials(credentials).await?);
    }
    let contact = plan.email.as_ref().map(|email| format!("mailto:{email}"));
    let contact: Vec<&str> = contact.as_deref().into_iter().collect();
    let asked = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) = builder()?.create(&asked, plan.directory.clone(), None).await?;
    write_secret(&path, &serde_json::to_vec(&credentials)?)?;
    Ok(account)
}

/// One host: says when it has to be looked at again.
async fn look_after(
    plan: &AcmePlan,
    account: Account,
    host: Host,
    calls: &mpsc::WeakUnboundedSender<Call>,
) -> (Host, Result<Due, AnyError>) {
    let old = leaf(&file(&plan.store, host.as_str()));
    if let Some(old) = &old {
        match due(&account, old).await {
            Due::Now => {}
            later => return (host, Ok(later)),
        }
    }
    let ordered = tokio::time::timeout(ORDER_TIME, obtain_with_nonces(plan, &account, &host, calls)).await;
    let result = match ordered {
        Ok(result) => result.map(|()| Due::Later(plan.every)),
        Err(_) => Err("the authority took too long".into()),
    };
    (host, result)
}

fn leaf(path: &Path) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(&std::fs::read(path).ok()?).ok()
}

/// What the authority suggests, or what the certificate's own time says.
async fn due(account: &Account, leaf: &CertificateDer<'_>) -> Due {
    let now = clock::now().0 / 1000;
    let Some(life) = life(leaf) else { return Due::Now };
    let suggested = match CertificateIdentifier::try_from(leaf) {
        Ok(identifier) => account.renewal_info(&identifier).await.ok(),
        Err(_) => None,
    };
    let salt = twox_hash::XxHash3_64::oneshot(leaf);
    let (window, again) = match suggested {
        Some((info, again)) => {
            let (from, until) = (info.suggested_window.start, info.suggested_window.end);
            (Some((Life { from: from.unix_timestamp(), until: until.unix_timestamp() }, salt)), again)
        }
        None => (None, Duration::ZERO),
    };
    renewal::decide(life, window, (now, again))
}

fn life(leaf: &CertificateDer<'_>) -> Option<Life> {
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).ok()?;
    let validity = parsed.validity();
    Some(Life { from: validity.not_before.timestamp(), until: validity.not_after.timestamp() })
}

/// An authority may refuse any nonce at any time, and says nothing about the order by that (RFC 8555, 6.5); the library asks
/// three times.
async fn obtain_with_nonces(
    plan: &AcmePlan,
    account: &Account,
    host: &Host,
    calls: &mpsc::WeakUnboundedSender<Call>,
) -> Result<(), AnyError> {
    for _ in 0..NONCES {
        match obtain(plan, account, host, calls).await {
            Err(error) if is_bad_nonce(&error) => tracing::debug!(%host, "acme: begun again: {error}"),
            ended => return ended,
        }
    }
    obtain(plan, account, host, calls).await
}

fn is_bad_nonce(error: &AnyError) -> bool {
    let problem = match error.downcast_ref() {
        Some(instant_acme::Error::Api(problem)) => problem.r#type.as_deref(),
        _ => None,
    };
    problem == Some("urn:ietf:params:acme:error:badNonce")
}

async fn obtain(
    plan: &AcmePlan,
    account: &Account,
    host: &Host,
    calls: &mpsc::WeakUnboundedSender<Call>,
) -> Result<(), AnyError> {
    let names = [Identifier::Dns(host.to_string())];
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    prove(&mut order, calls).await?;
    let status = order.poll_ready(&POLLS).await?;
    if status != OrderStatus::Ready {
        return Err(format!("the authority does not believe that the host is ours: {status:?}").into());
    }
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&POLLS).await?;
    let text = CertificateText { chain, key: KeyText(key) };
    super::certificates::Certificate::read(&text)?;
    write_secret(&file(&plan.store, host.as_str()), format!("{}{}", text.key.0, text.chain).as_bytes())?;
    tracing::info!(%host, "acme: a certificate is here");
    call(calls, Call::CertificatesChanged).await
}

/// Lets the router answer what the authority asks the host.
async fn prove(order: &mut Order, calls: &mpsc::WeakUnboundedSender<Call>) -> Result<(), AnyError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let challenge = authorization.challenge(ChallengeType::Http01);
        let mut challenge = challenge.ok_or("the authority has no challenge over HTTP")?;
        let told = Told::Challenge {
            token: challenge.token.clone(),
            answer: challenge.key_authorization().as_str().to_owned(),
        };
        call(calls, |done| Call::Tell(Box::new(told), done)).await?;
        challenge.set_ready().await?;
    }
    Ok(())
}

async fn call(
    calls: &mpsc::WeakUnboundedSender<Call>,
    call: impl FnOnce(oneshot::Sender<()>) -> Call,
) -> Result<(), AnyError> {
    let (done, ended) = oneshot::channel();
    calls.upgrade().ok_or("the server ends")?.send(call(done)).map_err(|_| "the server ends")?;
    Ok(ended.await?)
}

fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), files::FileError> {
    if let Some(directory) = path.parent() {
        files::create_directory(directory, 0o700, Some(UserIds::of(0)))?;
    }
    files::write(path, bytes, Placement { mode: 0o600, owner: None, durability: Durability::Durable })
}
