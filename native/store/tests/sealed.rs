// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What a stolen database tells without its key.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use insights_store::{
    AccountId, SiteId, StoreError,
    catalog::{Account, AccountToken, Catalog, EventQuery, Level, NewEvent, Site, TokenPurpose},
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
    [EMAIL, NAME, WAITING, "lovelace", "babbage"]
        .iter()
        .flat_map(|text| telling(dir, text))
        .collect()
}

#[tokio::test]
async fn a_database_without_its_key_tells_no_name_and_no_address() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let key = dir.path().join("profile.key");
    let catalog = Catalog::open_with(&store, &key).unwrap();
    catalog.create_account(ada()).await.unwrap();
    catalog.create_token(token(), 10).await.unwrap();
    catalog.rename_account(ada().id, NAME.to_owned()).await.unwrap();
    catalog.set_email(ada().id, EMAIL.to_owned()).await.unwrap();
    assert_eq!(tells(&store), Vec::<String>::new());
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
    let old = fs::read_to_string(&key).unwrap();
    let sealed = sealed_email(&store);

    let command = Catalog::open_with(&store, &key).unwrap();
    for _ in 0..2 {
        command.change_key().await.unwrap();
        assert_eq!(service.account_by_email(EMAIL).await.unwrap(), Some(ada()));
        assert_eq!(service.token([7; 32], TokenPurpose::SignUp, 1).await.unwrap(), Some(token()));
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
    let site = SiteId(uuid::Uuid::from_u128(9));
    let catalog = Catalog::open_with(&store, &key).unwrap();
    catalog.create_account(ada()).await.unwrap();
    catalog.create_token(token(), 10).await.unwrap();
    catalog
        .create_site(Site {
            id: site,
            account: ada().id,
            name: "eu".to_owned(),
            created_us: 1,
            deleted_us: None,
            quota_bytes: 0,
            settings: "{}".to_owned(),
        })
        .await
        .unwrap();
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
    catalog.append_events(site, None, events).await.unwrap();
    drop(catalog);
    // As the version before had it.
    let db = Connection::open(store.join("catalog.sqlite")).unwrap();
    db.execute_batch("DROP TABLE vault; PRAGMA user_version = 8;").unwrap();
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
    drop(db);
    assert!(!tells(&store).is_empty());
    fs::remove_file(&key).unwrap();

    let catalog = Catalog::open_with(&store, &key).unwrap();
    assert_eq!(catalog.account_by_email(EMAIL).await.unwrap(), Some(ada()));
    assert_eq!(catalog.token([7; 32], TokenPurpose::SignUp, 1).await.unwrap(), Some(token()));
    let query = EventQuery::all(insights_store::Period::new(0, 10), 10);
    let mut by: Vec<_> = catalog
        .events(site, query)
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
