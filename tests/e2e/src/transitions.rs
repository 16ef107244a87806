// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! When objects were made and came to life, as ZooKeeper itself remembers it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use uuid::Uuid;
use zookeeper_client::{Client, Error};

/// What a line of the list of changes can tell of a quiet cloud.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Transition {
    Added,
    /// A host's agent came.
    Alive,
    /// A port was plugged in.
    Up,
}

/// When each happened, µs since the epoch, for all objects that are there now.
pub async fn read(hosts: &str, root: &str) -> Result<BTreeMap<(Uuid, Transition), i64>> {
    let client = Client::connector()
        .with_server_version(3, 4, 8)
        .with_session_timeout(Duration::from_secs(40))
        .connect(hosts)
        .await
        .context("connect to ZooKeeper")?;
    let mut found = BTreeMap::new();
    let models = format!("{root}/zoom/0/models");
    for class in children(&client, &models).await? {
        for id in children(&client, &format!("{models}/{class}")).await? {
            add(&client, &format!("{models}/{class}/{id}"), &id, Transition::Added, &mut found).await?;
        }
    }
    let states = format!("{root}/zoom/0/state");
    for host in children(&client, &states).await? {
        for (class, key, transition) in [("Host", "alive", Transition::Alive), ("Port", "active", Transition::Up)] {
            let folder = format!("{states}/{host}/{class}");
            for id in children(&client, &folder).await? {
                add(&client, &format!("{folder}/{id}/{key}"), &id, transition, &mut found).await?;
            }
        }
    }
    Ok(found)
}

async fn children(client: &Client, path: &str) -> Result<Vec<String>> {
    match client.list_children(path).await {
        Ok(children) => Ok(children),
        Err(Error::NoNode) => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("list {path}")),
    }
}

async fn add(client: &Client, path: &str, id: &str, transition: Transition, found: &mut BTreeMap<(Uuid, Transition), i64>) -> Result<()> {
    let stat = client.check_stat(path).await.with_context(|| format!("look at {path}"))?;
    if let (Some(stat), Ok(id)) = (stat, id.parse()) {
        found.insert((id, transition), stat.ctime * 1_000);
    }
    Ok(())
}
