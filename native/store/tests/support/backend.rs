// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The same test on both backends: the embedded one in a folder, and a ClickHouse server with a database for each test.

#![allow(dead_code, unused_imports, unused_macros, reason = "each user takes a part")]

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use insights_store::{ClickHouseOptions, Store, StoreError, StoreOptions};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Where a test's store is. It can be opened again and again.
pub(crate) struct Backend {
    pub(crate) dir: TempDir,
    database: Option<String>,
}

impl Backend {
    pub(crate) fn embedded() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            database: None,
        }
    }

    pub(crate) async fn clickhouse() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = format!("t{}", uuid::Uuid::new_v4().simple());
        server().send("/", &format!("CREATE DATABASE {database} ENGINE = Atomic")).await;
        Self {
            dir,
            database: Some(database),
        }
    }

    /// The same database for another collector, with a catalogue of its own.
    pub(crate) fn beside(&self) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            database: self.database.clone(),
        }
    }

    pub(crate) fn is_embedded(&self) -> bool {
        self.database.is_none()
    }

    /// Options of an otherwise default store.
    pub(crate) fn options(&self) -> StoreOptions {
        StoreOptions::new(self.dir.path())
    }

    pub(crate) async fn try_open(&self, options: StoreOptions) -> Result<Store, StoreError> {
        match &self.database {
            None => Store::open(options).await,
            Some(database) => {
                let address = format!("clickhouse://127.0.0.1:{}/{database}", server().port);
                Store::open_distributed(options, ClickHouseOptions::new(address.parse()?)).await
            }
        }
    }

    pub(crate) async fn open(&self, options: StoreOptions) -> Store {
        self.try_open(options).await.unwrap()
    }

    /// Parts of all tables are put together, as the server does later by itself.
    pub(crate) async fn merge_all(&self) {
        let database = self.database.as_ref().unwrap();
        let tables = self
            .ask("SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'")
            .await;
        assert!(tables.lines().count() > 10, "{tables}");
        for table in tables.lines() {
            self.ask(&format!("OPTIMIZE TABLE {database}.{table} FINAL")).await;
        }
    }

    /// A statement in the test's own database.
    pub(crate) async fn ask(&self, sql: &str) -> String {
        let database = self.database.as_ref().unwrap();
        server().send(&format!("/?database={database}&wait_end_of_query=1"), sql).await
    }
}

/// Two tests from one body, which takes a runtime and a [`Backend`].
macro_rules! on_both {
    ($($body:ident),+ $(,)?) => {
        mod embedded {
            $(#[test]
            fn $body() {
                super::$body(&crate::backend::runtime(), crate::backend::Backend::embedded());
            })+
        }

        mod clickhouse {
            $(#[test]
            fn $body() {
                let runtime = crate::backend::runtime();
                let backend = runtime.block_on(crate::backend::Backend::clickhouse());
                super::$body(&runtime, backend);
            })+
        }
    };
}
pub(crate) use on_both;

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// A server that ends with this process, whose end closes its input.
struct Server {
    port: u16,
    _input: ChildStdin,
    _child: Child,
}

/// The one of this process.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

/// A loaded machine reads half a gigabyte of library for a while.
const START: Duration = Duration::from_secs(180);

impl Server {
    fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let library = root.join("target/tools/bench/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so");
        assert!(library.is_file(), "{} is missing: run tests/tools/setup test", library.display());
        let folder: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("clickhouse-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let log = std::fs::File::create(folder.with_extension("log")).unwrap();
        // Free at this moment; the server says when it is not any more.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new(root.join("tests/tools/clickhouse"))
            .arg(&library)
            .arg(&folder)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = child.try_wait().unwrap();
            let told = || std::fs::read_to_string(folder.with_extension("log")).unwrap_or_default();
            assert!(ended.is_none() && begun.elapsed() < START, "no ClickHouse: {ended:?} {}", told());
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = std::fs::remove_file(folder.with_extension("log"));
        Self {
            port,
            _input: input,
            _child: child,
        }
    }

    /// A merge that a busy server gave up is asked for again.
    async fn send(&self, target: &str, sql: &str) -> String {
        let begun = Instant::now();
        loop {
            let (head, body) = self.send_once(target, sql).await;
            if head.lines().next().unwrap().contains(" 200 ") {
                return body;
            }
            assert!(body.contains("(ABORTED)") && begun.elapsed() < START, "{sql}: {body}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn send_once(&self, target: &str, sql: &str) -> (String, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        // 1.0: the answer has no chunks and ends with the connection.
        let request = format!("POST {target} HTTP/1.0\r\ncontent-length: {}\r\n\r\n{sql}", sql.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }
}
