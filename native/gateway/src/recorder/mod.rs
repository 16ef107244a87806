// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The recorder endpoint: where agents send their flow records.
//!
//! Agents find it in MidoNet's service discovery under [`SERVICE`] and open a TCP connection each, on which they send and never read. A slow
//! reader makes them lose records silently, so nothing here ever waits for what comes behind: a full pipe drops and counts.
//!
//! | part | what it does |
//! |---|---|
//! | `intake` | bytes of one connection to flow facts; no sockets, no clock |
//! | `endpoint` | listens, reads, bounds what peers can cost |
//! | `admission` | who may connect |
//! | `paths` | keeps like paths as one |
//! | `address` | finds the address that agents can reach |
//! | `registration` | keeps the entry in service discovery |
//! | [`decode`] | a recorded stream as JSON lines |

pub mod decode;
pub mod intake;

mod address;
mod admission;
mod endpoint;
mod paths;
mod registration;

pub(crate) use address::local_addresses;

use std::time::Duration;

use insights_protocol::event::Level;
use tokio::time::sleep;

use crate::{
    nsdb::{Place, View, chain, event},
    tap::Tap,
};

/// The name under which agents look for the endpoint: what operators set as `agent.flow_history.endpoint_service`.
pub const SERVICE: &str = "insights";

/// After the entry is gone from service discovery, records that are on their way are still read for so long.
const LINGER: Duration = Duration::from_millis(250);
/// Pause after a port could not be had.
const BIND_PAUSE: Duration = Duration::from_secs(10);

/// Runs until [`Tap::stop`] says so. While flows may not leave the site there is no endpoint.
pub async fn run(tap: Tap, view: View) {
    let place = match Place::new(&tap.config.zookeeper.hosts, &tap.config.zookeeper.root_key) {
        Ok(place) => place,
        Err(error) => {
            log::error!("no recorder endpoint: {}", chain(&error));
            return tap.stop.stopped().await;
        }
    };
    let mut settings = tap.pipe.settings();
    while !tap.stop.is_stopped() {
        let wanted = settings.borrow_and_update().kinds.flows;
        if wanted {
            serve(&tap, &place, &view).await;
        } else {
            tokio::select! {
                changed = settings.changed() => if changed.is_err() { tap.stop.stopped().await },
                () = tap.stop.stopped() => {}
            }
        }
    }
}

/// Listens and is registered until the tap is stopped or flows may not leave any more.
async fn serve(tap: &Tap, place: &Place, view: &View) {
    let mut settings = tap.pipe.settings();
    let unwanted = async {
        // An error means that the pipe's other end is gone: the gateway stops.
        let _ = settings.wait_for(|settings| !settings.kinds.flows).await;
    };
    let recorder = &tap.config.recorder;
    let working = async {
        let mut told = false;
        loop {
            match endpoint::Endpoint::bind(recorder.bind, recorder.port, recorder.max_connections) {
                Ok(endpoint) => break endpoint,
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        let text = format!(
                            "recorder can't listen on {} port {}: {error}; set insights_cloud.recorder.port to a free one",
                            recorder.bind, recorder.port
                        );
                        log::error!("{text}; trying again");
                        tap.pipe.event(event(Level::Error, "recorder.no_port", text, &[]));
                    }
                    sleep(BIND_PAUSE).await;
                }
            }
        }
    };
    tokio::pin!(unwanted);
    let endpoint = tokio::select! {
        endpoint = working => endpoint,
        () = &mut unwanted => return,
        () = tap.stop.stopped() => return,
    };
    log::info!("recorder listens on {}", endpoint.address());
    let port = endpoint.address().port();
    let admission = admission::Admission::new(recorder.clients.clone(), view.clone());
    let reading = endpoint.run(tap.pipe.clone(), admission);
    let ended = async {
        let mut registration = registration::Registration::new(tap, place, view, port);
        tokio::select! {
            () = registration.keep() => {}
            () = &mut unwanted => {}
            () = tap.stop.stopped() => {}
        }
        registration.end().await;
        sleep(LINGER).await;
    };
    // The listener and all connections close when `reading` is dropped, which is after the entry is gone.
    tokio::select! {
        () = reading => {}
        () = ended => {}
    }
}
