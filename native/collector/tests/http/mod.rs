// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The manager on a port of its own, and a client that keeps cookies and follows nothing.

#![allow(unreachable_pub, reason = "shared by several test programs, each of which uses a part")]
#![allow(dead_code, reason = "each test uses a part of it")]

use std::{collections::BTreeMap, net::SocketAddr};

use insights_collector::{
    clock::now_us,
    query::scoped::Stores,
    web::{self, App},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The manager of a service.
pub fn app(service: &crate::service::Service) -> App {
    App {
        stores: Stores::new(service.store.clone()),
        accounts: service.accounts.clone(),
        sites: service.sites.clone(),
        gateways: service.gateways.clone(),
        secure: false,
        sign_up: true,
        clock: now_us,
    }
}

/// Serves the manager until the test ends.
pub async fn serve(app: App) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = web::router(app).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(listener, service).into_future());
    address
}

/// One browser, more or less.
pub struct Client {
    address: SocketAddr,
    cookies: BTreeMap<String, String>,
    /// The header `Authorization`.
    pub authorization: Option<String>,
}

pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    pub fn location(&self) -> &str {
        self.headers.get("location").map_or("", String::as_str)
    }

    /// The token that forms of the page carry.
    pub fn csrf(&self) -> String {
        between(&self.body, "name=\"csrf\" value=\"", "\"").expect("a form on the page")
    }
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            cookies: BTreeMap::new(),
            authorization: None,
        }
    }

    /// A program that shows a token.
    pub fn with_token(address: SocketAddr, token: &str) -> Self {
        let mut client = Self::new(address);
        client.authorization = Some(format!("Bearer {token}"));
        client
    }

    pub async fn signed_in(address: SocketAddr, email: &str, password: &str) -> Self {
        let mut client = Self::new(address);
        let answer = client.post("/sign-in", &[("email", email), ("password", password)]).await;
        assert_eq!((answer.status, answer.location()), (303, "/"), "{}", answer.body);
        client
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, None).await
    }

    pub async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        let body = insights_collector::query::params::encode(form.iter().copied());
        self.send("POST", path, Some(body)).await
    }

    pub async fn send(&mut self, method: &str, path: &str, body: Option<String>) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let body = body.unwrap_or_default();
        let authorization = self
            .authorization
            .as_ref()
            .map_or_else(String::new, |text| format!("authorization: {text}\r\n"));
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncookie: {}\r\n{authorization}\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            cookies.join("; "),
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").expect("an HTTP answer");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap();
        let mut headers = BTreeMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            if name == "set-cookie"
                && let Some((cookie, value)) = value.split(';').next().and_then(|pair| pair.split_once('='))
            {
                self.cookies.insert(cookie.to_owned(), value.to_owned());
            }
            headers.insert(name.to_owned(), value.to_owned());
        }
        let body = if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
            unchunked(body)
        } else {
            body.to_owned()
        };
        Answer { status, headers, body }
    }
}

/// The text between two marks, the first time that they are there.
pub fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let rest = &text[text.find(before)? + before.len()..];
    Some(rest[..rest.find(after)?].to_owned())
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    whole
}
