//! WebSockets: after the application agreed to change the protocol, bytes go both ways unseen.

use super::instance::TunnelPass;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use tokio::sync::{mpsc, watch};

/// Carries bytes both ways until one side closes, the instance is drained, or the router stops. `alive` is held meanwhile.
pub async fn run(
    client: OnUpgrade,
    application: Upgraded,
    pass: TunnelPass,
    mut closing: watch::Receiver<bool>,
    alive: mpsc::Sender<Infallible>,
) {
    let carry = async {
        let Ok(client) = client.await else { return };
        let (mut client, mut application) = (TokioIo::new(client), TokioIo::new(application));
        // How a tunnel ends is between the two sides.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut application).await;
    };
    tokio::select! {
        () = carry => {}
        () = pass.closing() => {}
        _ = closing.wait_for(|closing| *closing) => {}
    }
    drop((alive, pass));
}
