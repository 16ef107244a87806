// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What a stolen database tells without its key.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use insights_store::{
    AccountId, SiteId, StoreError,
    catalog::{
        Account, AccountToken, AlertChange, AlertDeed, AlertQuery, AlertTarget, AlertText, ApiToken, AuditEntry, AuditQuery, Catalog, EventQuery,
        Level, NewEvent, Site, TokenPurpose, WebSession,
    },
};
use rusqlite::{Connection, params};

const EMAIL: &str = "Ada.Lovelace@analytical.example";
const NAME: &str = "Ada Augusta Lovelace";
const WAITING: &str = "charles.babbage@analytical.example";

fn ada() -> Account {
    Account {
        id: AccountId(uuid::Uuid::from_u128(1)),
        email: EMAIL.to_owned(),
        name: NAME.to_owned(),
        password_hash: "$argon2id$x".to_owned(),
        created_us: 1,
    }
}

fn token() -> AccountToken {
    AccountToken {
        token_hash: [7; 32],
        purpose: TokenPurpose::SignUp,
        account: None,
        email: WAITING.to_owned(),
        payload: format!("{{\"name\":\"{NAME}\"}}"),
        expires_us: i64::MAX,
    }
}

/// Of a webhook.
const SECRET: &str = "whsec-5e0f7d31";
/// Where people come from.
const ADDRESS: &str = "198.51.100.77";
const WHY: &str = "550 <ada.lovelace@analytical.example> is gone";

const SITE: SiteId = SiteId(uuid::Uuid::from_u128(9));

/// Everything that the catalogue keeps sealed beside accounts and links.
async fn fill(catalog: &Catalog) {
    catalog
        .create_site(Site {
            id: SITE,
            account: ada().id,
            name: "eu".to_owned(),
            created_us: 1,
            deleted_us: None,
            quota_bytes: 0,
            settings: "{}".to_owned(),
        })
        .await
        .unwrap();
    let session = WebSession {
        token_hash: [3; 32],
        account: ada().id,
        created_us: 1,
        expires_us: i64::MAX,
        used_us: 1,
        client: ADDRESS.to_owned(),
        browser: "Firefox on Linux".to_owned(),
    };
    catalog.create_session(session, 10).await.unwrap();
    let token = ApiToken {
        id: uuid::Uuid::from_u128(4),
        account: ada().id,
        token_hash: [4; 32],
        name: "exporter".to_owned(),
        scopes: "flows".to_owned(),
        sites: None,
        created_us: 1,
        expires_us: None,
        used_us: None,
        client: String::new(),
    };
    catalog.create_api_token(token, 10).await.unwrap();
    catalog.api_token_used(uuid::Uuid::from_u128(4), 5, ADDRESS.to_owned()).await.unwrap();
    let target = AlertTarget {
        id: uuid::Uuid::from_u128(5),
        kind: "webhook".to_owned(),
        name: "on call".to_owned(),
        definition: format!("{{\"secret\":\"{SECRET}\"}}"),
        level: Level::Info,
        created_us: 1,
        failed: None,
        delivered_us: None,
    };
    catalog.add_alert_target(SITE, target, 10).await.unwrap();
    let open = AlertChange::Open {
        rule: "host-down".to_owned(),
        subject: "host 1".to_owned(),
        since_us: 1,
        says: AlertText {
            level: Level::Error,
            text: "a host is down".to_owned(),
            about: "{}".to_owned(),
            value: None,
            threshold: None,
            members: 0,
        },
    };
    catalog.change_alerts(SITE, vec![open], None, 2).await.unwrap();
    let alert = alerts(catalog).await.remove(0);
    for deed in [AlertDeed::Acknowledge, AlertDeed::Silence { until_us: 1_000 }] {
        assert!(catalog.act_on_alert(SITE, alert.id, deed, EMAIL.to_owned(), 3).await.unwrap());
    }
    let payload = format!("{{\"text\":\"{SECRET}\"}}");
    assert!(catalog.test_alert_target(SITE, uuid::Uuid::from_u128(5), payload, 4).await.unwrap());
    let notice = catalog.due_notices(10, 10).await.unwrap().remove(0);
    catalog
        .notice_failed(SITE, notice.target.id, notice.id, WHY.to_owned(), 5, 5)
        .await
        .unwrap();
}

async fn alerts(catalog: &Catalog) -> Vec<insights_store::catalog::StoredAlert> {
    let query = AlertQuery {
        open: None,
        rule: None,
        before: None,
        limit: 10,
    };
    catalog.alerts(SITE, query, 6).await.unwrap()
}

/// That all of it is there for whoever has the key.
async fn filled(catalog: &Catalog) {
    assert_eq!(catalog.sessions_of(ada().id, 6).await.unwrap()[0].client, ADDRESS);
    assert_eq!(catalog.session([3; 32], 6).await.unwrap().unwrap().0.client, ADDRESS);
    assert_eq!(catalog.api_tokens_of(ada().id).await.unwrap()[0].client, ADDRESS);
    assert_eq!(catalog.api_token([4; 32], 6).await.unwrap().unwrap().client, ADDRESS);
    let alert = alerts(catalog).await.remove(0);
    assert_eq!(alert.acknowledged, Some((3, EMAIL.to_owned())));
    assert_eq!(alert.silenced, Some((1_000, EMAIL.to_owned())));
    let acts = catalog.alert_acts(SITE, alert.id).await.unwrap();
    let by: Vec<_> = acts.into_iter().map(|act| act.by).collect();
    assert_eq!(by, [None, Some(EMAIL.to_owned()), Some(EMAIL.to_owned())]);
    let target = catalog.alert_targets(SITE).await.unwrap().remove(0);
    assert!(target.definition.contains(SECRET));
    assert_eq!(target.failed, Some((5, WHY.to_owned())));
    let notices = catalog.due_notices(10, 10).await.unwrap();
    assert!(notices.iter().all(|notice| notice.target == target));
    assert!(notices.iter().any(|notice| notice.payload.contains(SECRET)) && notices.len() == 2);
}

fn entry() -> AuditEntry {
    AuditEntry {
        at_us: 5,
        what: "account.email".to_owned(),
        done: true,
        site: None,
        text: format!("the address is {WAITING} now"),
        address: ADDRESS.to_owned(),
        by: "manager".to_owned(),
    }
}

async fn audit(catalog: &Catalog, find: &str) -> Vec<AuditEntry> {
    let query = AuditQuery {
        find: find.to_owned(),
        limit: 10,
        ..AuditQuery::default()
    };
    let found = catalog.audit(ada().id, query).await.unwrap();
    found.into_iter().map(|(_, entry)| entry).collect()
}

/// Files of a folder that hold a text, in any case of its letters.
fn telling(dir: &Path, text: &str) -> Vec<String> {
    let text = text.to_lowercase().into_bytes();
    let mut found = Vec::new();
    for file in fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file()) {
        let bytes = fs::read(&file).unwrap().to_ascii_lowercase();
        if bytes.windows(text.len()).any(|window| window == text) {
            found.push(file.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

fn tells(dir: &Path) -> Vec<String> {
    [EMAIL, NAME, WAITING, SECRET, ADDRESS, "lovelace", "babbage"]
        .iter()
        .flat_map(|text| telling(dir, text))
        .collect()
}

#[tokio::test]
async fn a_stolen_database_tells_no_name_no_address_and_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let key = dir.path().join("profile.key");
    let catalog = Catalog::open_with(&store, &key).unwrap();
    catalog.create_account(ada()).await.unwrap();
    catalog.create_token(token(), 10).await.unwrap();
    catalog.rename_account(ada().id, NAME.to_owned()).await.unwrap();
    catalog.set_email(ada().id, EMAIL.to_owned()).await.unwrap();
    fill(&catalog).await;
    catalog.begin_second_factor(ada().id, SECRET.to_owned()).await.unwrap();
    catalog.append_audit(ada().id, entry()).await.unwrap();
    assert_eq!(tells(&store), Vec::<String>::new());
    filled(&catalog).await;
    assert_eq!(catalog.second_factor(ada().id).await.unwrap().unwrap().secret, SECRET);
    assert_eq!(audit(&catalog, "").await, [entry()]);
    // Whoever has the key finds them, by any way to write the address.
    let found = catalog.account_by_email("ADA.LOVELACE@analytical.example ").await.unwrap();
    assert_eq!(found, Some(ada()));
    assert_eq!(catalog.accounts().await.unwrap(), [ada()]);
    assert_eq!(catalog.token([7; 32], TokenPurpose::SignUp, 1).await.unwrap(), Some(token()));
    assert!(matches!(
        catalog
            .create_account(Account {
                id: AccountId(uuid::Uuid::from_u128(2)),
                ..ada()
            })
            .await,
        Err(StoreError::Taken("e-mail address"))
    ));
    drop(catalog);

    // With another key it does not open, and says which one it needs; with its own it does again.
    fs::rename(&key, dir.path().join("away")).unwrap();
    let error = Catalog::open_with(&store, &key).err().unwrap().to_string();
    assert!(error.contains("sealed with the key") && error.contains("profile.key"), "{error}");
    fs::rename(dir.path().join("away"), &key).unwrap();
    assert_eq!(Catalog::open_with(&store, &key).unwrap().accounts().await.unwrap(), [ada()]);
}

#[tokio::test]
async fn the_key_is_changed_while_another_process_works() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let key = dir.path().join("profile.key");
    let service = Catalog::open_with(&store, &key).unwrap();
    service.create_account(ada()).await.unwrap();
    service.create_token(token(), 10).await.unwrap();
    fill(&service).await;
    service.begin_second_factor(ada().id, SECRET.to_owned()).await.unwrap();
    service.append_audit(ada().id, entry()).await.unwrap();
    let old = fs::read_to_string(&key).unwrap();
    let sealed = sealed_email(&store);

    let command = Catalog::open_with(&store, &key).unwrap();
    for _ in 0..2 {
        command.change_key().await.unwrap();
        assert_eq!(service.account_by_email(EMAIL).await.unwrap(), Some(ada()));
        assert_eq!(service.token([7; 32], TokenPurpose::SignUp, 1).await.unwrap(), Some(token()));
        filled(&service).await;
        assert_eq!(service.second_factor(ada().id).await.unwrap().unwrap().secret, SECRET);
        assert_eq!(audit(&service, "").await, [entry()]);
    }
    service.rename_account(ada().id, "Ada".to_owned()).await.unwrap();
    assert_eq!(command.account(ada().id).await.unwrap().unwrap().name, "Ada");
    let new = fs::read_to_string(&key).unwrap();
    assert_eq!(new.lines().count(), old.lines().count());
    assert_ne!(new, old);
    assert_ne!(sealed_email(&store), sealed);
    // What was sealed with the old key is on no page of the file any more.
    drop((service, command));
    drop(Catalog::open_with(&store, &key).unwrap());
    assert_eq!(telling(&store, &sealed), Vec::<String>::new());
    // The old key opens nothing.
    fs::write(&key, old).unwrap();
    assert!(Catalog::open_with(&store, &key).is_err());
}

#[tokio::test]
async fn a_catalogue_in_clear_is_sealed_when_it_is_migrated() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let key = dir.path().join("profile.key");
    let catalog = Catalog::open_with(&store, &key).unwrap();
    catalog.create_account(ada()).await.unwrap();
    catalog.create_token(token(), 10).await.unwrap();
    fill(&catalog).await;
    let event = |kind: &str, by: &str| NewEvent {
        at_us: 5,
        level: Level::Info,
        kind: kind.to_owned(),
        text: "x".to_owned(),
        fields: format!("{{\"by\":\"{by}\"}}"),
        gateway: None,
        loss: None,
    };
    let events = vec![event("account.settings", EMAIL), event("account.command", "gone@else.example")];
    catalog.append_events(SITE, None, events).await.unwrap();
    drop(catalog);
    // As the version before had it.
    let db = Connection::open(store.join("catalog.sqlite")).unwrap();
    db.execute_batch(
        "DROP TABLE vault; DROP TABLE second_factors; DROP TABLE recovery_codes; DROP TABLE audit;
         DROP TRIGGER site_bytes_version; DROP TRIGGER site_bytes_no_version; DROP TRIGGER site_bytes_node;
         DROP TRIGGER site_bytes_no_node; DROP TRIGGER site_bytes_event; DROP TRIGGER site_bytes_no_event; DROP TABLE site_bytes;
         DROP INDEX topology_versions_span; ALTER TABLE topology_versions DROP COLUMN span;
         PRAGMA user_version = 8;",
    )
    .unwrap();
    db.execute(
        "UPDATE accounts SET email = ?1, email_key = ?2, name = ?3",
        params![EMAIL, EMAIL.to_lowercase(), NAME],
    )
    .unwrap();
    db.execute(
        "UPDATE account_tokens SET email = ?1, email_key = ?1, payload = ?2",
        params![WAITING, token().payload],
    )
    .unwrap();
    let updates = [
        ("web_sessions", "client", ADDRESS),
        ("api_tokens", "client", ADDRESS),
        ("alerts", "acknowledged_by", EMAIL),
        ("alert_silences", "by", EMAIL),
        ("alert_targets", "definition", SECRET),
        ("alert_targets", "failed_why", WHY),
        ("alert_notices", "payload", SECRET),
    ];
    for (table, column, text) in updates {
        assert!(db.execute(&format!("UPDATE {table} SET {column} = ?"), [text]).unwrap() > 0);
    }
    assert_eq!(db.execute("UPDATE alert_acts SET by = ? WHERE by IS NOT NULL", [EMAIL]).unwrap(), 2);
    drop(db);
    assert!(!tells(&store).is_empty());
    fs::remove_file(&key).unwrap();

    let catalog = Catalog::open_with(&store, &key).unwrap();
    assert_eq!(catalog.account_by_email(EMAIL).await.unwrap(), Some(ada()));
    assert_eq!(catalog.token([7; 32], TokenPurpose::SignUp, 1).await.unwrap(), Some(token()));
    filled(&catalog).await;
    let mut query = EventQuery::all(insights_store::Period::new(0, 10), 10);
    query.kind = "account.".to_owned();
    let mut by: Vec<_> = catalog
        .events(SITE, query)
        .await
        .unwrap()
        .into_iter()
        .map(|stored| stored.event.fields)
        .collect();
    by.sort();
    assert_eq!(by, [format!("{{\"by\":\"{}\"}}", ada().id), "{\"by\":null}".to_owned()]);
    // The copy for going back alone has them in clear, and it goes.
    let copy = store.join("catalog.sqlite.v8");
    assert!(copy.exists());
    let others = |found: Vec<String>| found.into_iter().filter(|name| name != "catalog.sqlite.v8").collect::<Vec<_>>();
    assert_eq!(others(tells(&store)), Vec::<String>::new());
    assert_eq!(telling(&store, "gone@else.example"), ["catalog.sqlite.v8"]);
    drop(catalog);
    drop(Catalog::open_with(&store, &key).unwrap());
    assert!(copy.exists());
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(15 * 86_400);
    fs::File::options().write(true).open(&copy).unwrap().set_modified(long_ago).unwrap();
    drop(Catalog::open_with(&store, &key).unwrap());
    assert!(!copy.exists());
}

fn sealed_email(store: &Path) -> String {
    let db = Connection::open(store.join("catalog.sqlite")).unwrap();
    db.query_row("SELECT email FROM accounts", [], |row| row.get(0)).unwrap()
}
