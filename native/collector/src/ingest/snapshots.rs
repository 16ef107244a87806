// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Gateways that owe a snapshot of the topology: a batch of theirs could not be read, or a snapshot came in part. It is kept in the catalogue,
//! over connections and restarts of the service, until a whole snapshot is stored.

use insights_protocol::control::{Command, CommandKind, ToGateway};
use insights_store::{SiteId, StoreError, catalog::Catalog};
use uuid::Uuid;

use super::gateways::Gateways;

const NOTE: &str = "snapshot wanted";

/// Gateways of a site that owe one; more than can be connected at once. Beyond it the request is made once only.
const MOST: usize = 4 * super::MAX_GATEWAYS;

/// Notes that a gateway owes a snapshot, before the cursor goes past the batch that tells so. A failure is logged: then the request is made once
/// only.
pub(super) async fn want(catalog: &Catalog, site: SiteId, gateway: Uuid) {
    if let Err(error) = catalog.set_note(site, NOTE, gateway.to_string(), String::new(), MOST).await {
        tracing::error!(error = &error as &dyn std::error::Error, %site, %gateway, "could not keep that a snapshot is wanted");
    }
}

/// Notes that a whole snapshot came: the model of the site is whole, whoever it came from.
pub(super) async fn got(catalog: &Catalog, site: SiteId) {
    let taken_out = async {
        for (gateway, _) in catalog.notes(site, NOTE).await? {
            catalog.delete_note(site, NOTE, gateway).await?;
        }
        Ok::<_, StoreError>(())
    };
    if let Err(error) = taken_out.await {
        tracing::error!(error = &error as &dyn std::error::Error, %site, "could not keep that a snapshot came");
    }
}

/// Whether a gateway owes a snapshot.
pub(super) async fn is_wanted(catalog: &Catalog, site: SiteId, gateway: Uuid) -> Result<bool, StoreError> {
    let gateway = gateway.to_string();
    Ok(catalog.notes(site, NOTE).await?.iter().any(|(key, _)| *key == gateway))
}

/// The request. Its outcome is a snapshot, so nobody waits for an answer.
pub(super) fn request(gateways: &Gateways) -> ToGateway {
    ToGateway::Command(Command {
        id: gateways.command_id(),
        what: CommandKind::ResendTopology,
    })
}
