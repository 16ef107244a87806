// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

#![allow(clippy::unwrap_used)]

use insights_store::{
    AccountId,
    catalog::{Account, AuditEntry, AuditQuery, Catalog, KEPT_AUDIT},
};

#[tokio::test]
async fn the_log_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    let id = AccountId::random();
    catalog
        .create_account(Account {
            id,
            email: "ada@example.org".to_owned(),
            name: "Ada".to_owned(),
            password_hash: String::new(),
            created_us: 1,
        })
        .await
        .unwrap();
    let entry = |number: usize| AuditEntry {
        at_us: number as i64,
        what: "session.in".to_owned(),
        done: true,
        site: None,
        text: number.to_string(),
        address: String::new(),
        by: String::new(),
    };
    // As many as there may be, without their transactions: rows of a database that was filled before.
    catalog.append_audit(id, entry(0)).await.unwrap();
    let db = rusqlite::Connection::open(dir.path().join("catalog.sqlite")).unwrap();
    db.execute(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?)
         INSERT INTO audit (account, at_us, what, done, said) SELECT account, at_us, what, done, said FROM audit, n",
        [KEPT_AUDIT as i64 + 5],
    )
    .unwrap();
    drop(db);
    catalog.append_audit(id, entry(1)).await.unwrap();
    assert_eq!(catalog.audit_count(id).await.unwrap(), KEPT_AUDIT);
    let newest = AuditQuery {
        limit: 1,
        ..AuditQuery::default()
    };
    assert_eq!(catalog.audit(id, newest).await.unwrap()[0].1.text, "1");
}
