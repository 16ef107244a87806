// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;

const HOST_ID: &str = "c0ffee00-0000-4000-8000-000000000001";

fn with(own: Value) -> Result<Config, ConfigError> {
    Config::from_json(&json!({"insights_cloud": own, "host_id": HOST_ID}).to_string())
}

/// A key with dots as nested objects.
fn nested(key: &str, value: Value) -> Value {
    key.rsplit('.').fold(value, |inner, part| json!({ part: inner }))
}

fn error(key: &str, value: Value) -> String {
    with(nested(key, value)).unwrap_err().to_string()
}

#[test]
fn everything_has_a_default() {
    let config = with(json!({})).unwrap();
    assert!(config.enabled && config.unknown.is_empty());
    assert_eq!(
        (config.gateway.host.as_str(), config.gateway.port, config.gateway.server_name.as_str()),
        (DEFAULT_HOST, 443, DEFAULT_HOST)
    );
    assert_eq!((config.recorder.host, config.recorder.port), (None, 5005));
    assert_eq!(config.data, Kinds::ALL);
    assert_eq!(config.spool.max_bytes, 2 << 30);
    assert_eq!(
        config.zookeeper,
        ZookeeperConfig {
            hosts: "127.0.0.1:2181".into(),
            root_key: "/midonet".into()
        }
    );
    assert!(
        Config::from_json(r#"{"host_id": "c0ffee00-0000-4000-8000-000000000001"}"#)
            .unwrap()
            .enabled
    );
}

#[test]
fn values_come_as_typesafe_config_renders_them() {
    let own = json!({
        "schemaVersion": 1, "enabled": "yes", "enabled_type": "bool", "enabled_description": "…",
        "gateway": {"host": "[::1]", "port": "4433", "port_type": "int", "server_name": "collector", "ca_file": "/etc/ca.pem"},
        "data": {"flows": "off"}, "metering": {"interval": 1500}, "spool": {"max_size": "1.5 GiB"}, "log": {"level": "DEBUG"},
        "status": {"socket": ""}, "later": {"key": 1},
    });
    let config = with(own).unwrap();
    assert_eq!(
        (config.gateway.host.as_str(), config.gateway.port, config.gateway.server_name.as_str()),
        ("::1", 4433, "collector")
    );
    assert_eq!(config.gateway.ca_file, Some("/etc/ca.pem".into()));
    assert!(!config.data.flows && config.data.topology);
    assert_eq!(config.metering_interval, Duration::from_millis(1_500));
    assert_eq!(config.spool.max_bytes, 3 << 29);
    assert_eq!((config.log_level, config.status_socket), (log::LevelFilter::Debug, None));
    assert_eq!(config.unknown, ["later.key"]);
}

#[test]
fn a_bad_value_names_key_value_and_what_is_allowed() {
    assert_eq!(
        error("gateway.port", json!(0)),
        "configuration: insights_cloud.gateway.port is 0: must be a whole number from 1 to 65535"
    );
    assert_eq!(
        error("data.flows", json!("maybe")),
        "configuration: insights_cloud.data.flows is \"maybe\": must be true or false"
    );
    assert_eq!(
        error("metering.interval", json!("2h")),
        "configuration: insights_cloud.metering.interval is \"2h\": must be a duration from 1s to 3600s, such as 10s"
    );
    assert_eq!(
        error("spool.max_size", json!("1 MiB")),
        "configuration: insights_cloud.spool.max_size is \"1 MiB\": must be a size from 64MiB to 1024GiB, such as 2GiB"
    );
    let text = error("recorder", json!({"host": "0.0.0.0", "port": -1, "bind": "eth0"}));
    for key in ["recorder.host", "recorder.port", "recorder.bind"] {
        assert!(text.contains(key), "all at once: {text}");
    }
    assert!(error("gateway.host", json!("a b")).contains("a host name or an address"));
    assert!(error("gateway.host", json!([1])).contains("[1]"));
    assert!(error("spool.path", json!("var/spool")).contains("an absolute path"));
    assert!(error("status.socket", json!(format!("/{}", "x".repeat(100)))).contains("at most 100 bytes"));
    assert!(Config::from_json("{").unwrap_err().to_string().contains("read the configuration"));
    assert_eq!(
        Config::from_json("{}").unwrap_err().to_string(),
        "configuration: host_id is missing: must be a UUID other than zero"
    );
}

#[test]
fn zookeeper_is_found_as_midonet_finds_it() {
    let read = |hosts: &str, root: &str| {
        let json = json!({"zookeeper": {"hosts": hosts, "root_key": root}, "host_id": HOST_ID});
        Config::from_json(&json.to_string()).map(|config| config.zookeeper)
    };
    assert_eq!(
        read("a:1, b:2", "/m/n/").unwrap(),
        ZookeeperConfig {
            hosts: "a:1,b:2".into(),
            root_key: "/m/n".into()
        }
    );
    assert_eq!(read("a", "/midonet/v1").unwrap().root_key, "/midonet");
    assert_eq!(read("a", "/").unwrap().root_key, "");
    for (hosts, root) in [("", "/m"), ("a:x", "/m"), ("a:1", "m"), ("a:1", "/m//n"), ("a:1", "/m/../n")] {
        assert!(read(hosts, root).is_err(), "{hosts} {root}");
    }
}

#[test]
fn the_list_of_keys_is_that_of_the_reader() {
    // A value that nothing allows: each key complains for itself, and none is unknown.
    for key in KEYS {
        assert!(error(key, json!(["x"])).contains(&format!("insights_cloud.{key} is")), "{key}");
    }
}

#[test]
fn what_is_in_force_is_told_as_the_keys_take_it() {
    let own = json!({
        "gateway": {"host": "::1", "port": "4433", "server_name": "collector", "ca_file": "/etc/ca.pem"},
        "recorder": {"host": "192.0.2.1", "port": 0, "bind": "::", "clients": "hosts 10.1.2.3/8"},
        "data": {"flows": "off"}, "metering": {"interval": 1500}, "spool": {"max_size": "1.5 GiB", "path": "/s"},
        "log": {"level": "DEBUG"}, "status": {"socket": ""}, "identity": {"path": "/i"},
    });
    for own in [own, json!({})] {
        let config = with(own).unwrap();
        let settings = config.settings();
        assert_eq!(settings.keys().map(String::as_str).collect::<BTreeSet<_>>(), KEYS.into());
        let mut again = json!({});
        for (key, value) in settings {
            let (section, name) = key.split_once('.').map_or((None, key.as_str()), |(section, name)| (Some(section), name));
            match section {
                Some(section) => again[section][name] = json!(value),
                None => again[name] = json!(value),
            }
        }
        assert_eq!(with(again).unwrap(), config);
    }
}

proptest! {
    #[test]
    fn any_value_of_any_key_is_taken_or_told(key in proptest::sample::select(KEYS.to_vec()), text in ".{0,60}", number in any::<f64>(), flag in any::<bool>()) {
        for value in [json!(text), json!(number), json!(flag), json!(null), json!({"x": text})] {
            if let Err(error) = with(nested(key, value)) {
                prop_assert!(error.to_string().contains(key));
            }
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in ".{0,200}") {
        let _ = Config::from_json(&text);
    }
}
